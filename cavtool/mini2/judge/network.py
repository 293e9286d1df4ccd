"""What the judge sees with: a network that reads frames and, for the camera, pairs of them; one that reads turns.

Shapes: B frames, P pairs, C channels, H W, K numbers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cavtool.mini2.world.places import PLACES
from cavtool.mini2.world.scenes import SIZE
from cavtool.mini2.world.subjects import ALL_COLOURS, subject_names

ATTRIBUTES = {"subject": subject_names(), "colour": tuple(ALL_COLOURS), "place": tuple(PLACES)}
_WIDTH, _NUM_HEADS = 128, 4
_CUT, _MARGIN = 32, 1.2  # pixels of what is cut out, and its half side in the subject's radius
_REACH = 4  # cells of the 16x16 grid that a background is looked for to either side


@dataclass(frozen=True)
class Seen:
    """What is read of frames.

    Logits (B, number of names) of subject, colour and place; `placing` (B, 3): x, y and log scale.
    """

    attributes: dict[str, Tensor]
    placing: Tensor


class Network(nn.Module):
    """Frames (B, 3, 64, 64) in [-1, 1] to features, features to what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), _Block(32), nn.Conv2d(32, 64, 2, 2))
        self.fine = nn.Sequential(*(_Block(64) for _ in range(3)))
        self.coarse = nn.Sequential(nn.Conv2d(64, _WIDTH, 2, 2), *(_Block(_WIDTH) for _ in range(4)))
        self.merge = nn.Sequential(nn.Conv2d(64 + _WIDTH, _WIDTH, 1), _Block(_WIDTH))
        self.attention = nn.Conv2d(_WIDTH, _NUM_HEADS, 1)
        self.attributes = nn.ModuleDict({name: nn.Linear(512, len(names)) for name, names in ATTRIBUTES.items()})
        self.read = nn.Sequential(nn.Linear(_NUM_HEADS * (_WIDTH + 2) + _WIDTH, 512), nn.SiLU())
        self.placing = nn.Linear(512, 3)
        shifts = (2 * _REACH + 1) ** 2
        self.match = nn.Sequential(
            nn.Conv2d(shifts, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 64, 4, 2, 1),
            nn.SiLU(),
            nn.Conv2d(64, 64, 4, 2, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * 16, 128),
            nn.SiLU(),
            nn.Linear(128, 3),
        )

    def features(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """For the camera (B, 64, 16, 16), and for the rest (B, 128, 16, 16)."""
        fine = self.fine(self.stem(frames_BCHW))
        coarse = functional.interpolate(self.coarse(fine), scale_factor=2, mode="nearest")
        merged: Tensor = self.merge(torch.cat([fine, coarse], dim=1))
        return fine, merged

    def see(self, features_BCHW: Tensor) -> Seen:
        """What single frames show."""
        share_BKN = self.attention(features_BCHW).flatten(2).softmax(-1)
        line = (torch.arange(16, device=features_BCHW.device) + 0.5) / 16 - 0.5
        grid_2HW = torch.stack(torch.meshgrid(line, line, indexing="xy"))
        with_place = torch.cat([features_BCHW, grid_2HW.expand(len(features_BCHW), -1, -1, -1)], dim=1)
        pooled_BKC = share_BKN @ with_place.flatten(2).transpose(1, 2)
        read = self.read(torch.cat([pooled_BKC.flatten(1), features_BCHW.mean((2, 3))], dim=1))
        return Seen({name: head(read) for name, head in self.attributes.items()}, self.placing(read))

    def follow(self, from_PCHW: Tensor, to_PCHW: Tensor) -> Tensor:
        """How the background of one frame goes to another's (P, 3): x, y and log zoom about the middle."""
        a, b = functional.normalize(from_PCHW, dim=1), functional.normalize(to_PCHW, dim=1)
        near = functional.pad(b, (_REACH,) * 4)
        size, shifts = a.shape[-1], range(2 * _REACH + 1)
        likeness = [(a * near[..., dy : dy + size, dx : dx + size]).sum(1) for dy in shifts for dx in shifts]
        moved: Tensor = self.match(torch.stack(likeness, dim=1))
        return moved


class TurnNetwork(nn.Module):
    """What is cut out around a subject to how it is turned."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1),
            _Block(32),
            nn.Conv2d(32, 64, 2, 2),
            *(_Block(64) for _ in range(2)),
            nn.Conv2d(64, _WIDTH, 2, 2),
            *(_Block(_WIDTH) for _ in range(2)),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(_WIDTH * 16, 256),
            nn.SiLU(),
            nn.Linear(256, 4),
        )

    def forward(self, frames_BCHW: Tensor, placing_B3: Tensor) -> Tensor:
        """Frames and where their subjects are to (B, 4): cos and sin of roll, then of yaw."""
        turn: Tensor = self.layers(cut_out(frames_BCHW, placing_B3))
        return turn


def cut_out(frames_BCHW: Tensor, placing_B3: Tensor) -> Tensor:
    """The subjects of frames (B, C, 32, 32), all of one size."""
    x, y, log_scale = placing_B3[:, :, None, None].unbind(1)
    line = (torch.arange(_CUT, device=placing_B3.device) + 0.5) / _CUT * 2 - 1
    half = SIZE * log_scale.exp() * _MARGIN  # grid_sample counts from -1 to 1, frame widths go from -0.5 to 0.5
    columns_BHW = (2 * x + half * line).expand(-1, _CUT, _CUT)
    rows_BHW = (2 * y + half * line[:, None]).expand(-1, _CUT, _CUT)
    return functional.grid_sample(frames_BCHW, torch.stack([columns_BHW, rows_BHW], dim=-1), align_corners=False)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        result: Tensor = hidden + self.layers(hidden)
        return result
