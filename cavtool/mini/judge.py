"""The judge: recovers from a clip of cav-mini's world what it shows and every channel of how it moves.

Small nets say what a glance can tell: the locator about where the subject is, the painter which colour it may have,
the backdrop net the place and about its zoom. Who the subject is, its turns and its exact placing come from holding the
world's own sprites against the clip (`mini.matching`), how the camera moved from geometry (`mini.camera`).
The nets are trained by `cavtool.mini.train_judge`.

Shapes: B batch, F frames, C channels, H W, S the side of a cut-out, and 3 for a placing: x, y, log scale.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cavtool.mini.architecture import to_model_range
from cavtool.mini.camera import track
from cavtool.mini.matching import CUT_SIDE, cut_out, match
from cavtool.mini.places import HELD_OUT_PLACES, PLACES
from cavtool.mini.sprites import COLOUR_NAMES
from cavtool.mini.world import SIDE, SIZE, Frames, Tracks

WEIGHTS = Path(__file__).parent / "weights" / "judge.safetensors"
PLACE_NAMES = (*PLACES, *HELD_OUT_PLACES)
_PROBABLE = 0.1  # a colour less probable is not tried, but for the likeliest


@dataclass(frozen=True)
class Reading:
    """What a clip shows, in the world's words (`colour` is empty for ironman), and its channels as in `world.CHANNELS`.

    The camera's channels are relative to the first frame; roll and yaw are in degrees, continuous from frame to frame.
    """

    subject: str
    colour: str
    place: str
    channels: Tracks


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]


def _trunk(channels_in: int, *widths: int) -> list[nn.Module]:
    """Two convolutions a width, the first of which halves the side."""
    layers, before = [], channels_in
    for width in widths:
        layers += [*_conv(before, width, 2), *_conv(width, width)]
        before = width
    return layers


def _head(channels: int, side: int, hidden: int, num_outputs: int) -> list[nn.Module]:
    """Numbers from a feature map, place by place."""
    squeeze = nn.Conv2d(channels, 16, 1)
    return [squeeze, nn.Flatten(), nn.Linear(16 * side * side, hidden), nn.ReLU(), nn.Linear(hidden, num_outputs)]


class JudgeNet(nn.Module):
    """The nets; pictures are (B, C, H, W) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.locator = nn.Sequential(*_trunk(3, 24, 48, 64), *_head(64, SIDE // 8, 64, 3))
        self.painter = nn.Sequential(*_trunk(3, 16, 32, 32), *_head(32, CUT_SIDE // 8, 64, len(COLOUR_NAMES)))
        self.backdrop = nn.Sequential(*_trunk(3, 16, 32, 48), *_head(48, SIDE // 8, 64, len(PLACE_NAMES) + 1))

    def locate(self, frames_BCHW: Tensor) -> Tensor:
        """The subject's placing (B, 3)."""
        return 0.3 * torch.as_tensor(self.locator(frames_BCHW)).float()

    def paint(self, cut_outs_BCSS: Tensor) -> Tensor:
        """Logits of the colour."""
        return torch.as_tensor(self.painter(cut_outs_BCSS)).float()

    def survey(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the place, and the log zoom (B,)."""
        place, zoom = torch.split(self.backdrop(frames_BCHW).float(), [len(PLACE_NAMES), 1], dim=1)
        return place, zoom[:, 0]


class Judge:
    """A trained `JudgeNet`, put to work on clips."""

    def __init__(self, net: JudgeNet) -> None:
        self.net = net.eval()

    @torch.inference_mode()
    def read(self, frames: Frames) -> Reading:
        """What a clip of (F, H, W, 3) bytes shows and how it moves."""
        frames_FCHW = to_model_range(frames)
        placed_F3 = self.net.locate(frames_FCHW)
        found = match(frames_FCHW, placed_F3, _probable_colours(self.net.paint(cut_out(frames_FCHW, placed_F3))))
        place, zoom_F = self.net.survey(frames_FCHW)
        places_F3 = torch.cat([found.placings[:, :2], SIZE * found.placings[:, 2:].exp()], dim=1)
        moved_F3 = track(frames_FCHW, places_F3, zoom_F)
        moved_F3[:, :2] *= torch.exp(moved_F3[:, 2] - zoom_F).median()  # from the first frame's scale to the world's
        channels = {
            **_columns(found.placings, ("x", "y", "log_scale")),
            "roll": found.roll,
            "yaw": found.yaw,
            **_columns(moved_F3, ("camera_x", "camera_y", "camera_zoom")),
        }
        return Reading(found.subject, found.colour, PLACE_NAMES[int(place.mean(dim=0).argmax())], channels)


def _probable_colours(logits_FN: Tensor) -> list[str]:
    shares = logits_FN.mean(dim=0).softmax(dim=0).tolist()
    enough = min(_PROBABLE, max(shares))
    return [name for name, share in zip(COLOUR_NAMES, shares, strict=True) if share >= enough]


def load_judge(path: Path | None = None) -> Judge:
    """The judge that ships with cav-mini, or one from other weights."""
    net = JudgeNet()
    net.load_state_dict(load_file(path or WEIGHTS))  # copied from fp16 into fp32
    return Judge(net)


def _columns(values_FN: Tensor, names: tuple[str, ...]) -> Tracks:
    return dict(zip(names, values_FN.numpy().astype(float).T, strict=True))
