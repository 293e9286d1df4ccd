"""The judge: recovers from a clip of cav-mini's world what it shows and every channel of how it moves.

Three small nets look in turn. The locator finds the subject in a frame; the portrait sees it cut out at that place and
size, so that it only has to name it, its colour, its roll and its yaw; the backdrop sees a frame beside the first one
and tells the place and how the camera moved in between. Trained by `cavtool.mini.train_judge`.

Shapes: B batch, F frames, C channels, H W, and S the side of a portrait.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from cavtool.mini.sprites import COLOURS, HELD_OUT_COLOURS, HELD_OUT_PLACES, HELD_OUT_SUBJECTS, PLACES, SUBJECTS
from cavtool.mini.world import SIDE, SIZE, Channels, Frames

WEIGHTS = Path(__file__).parent / "weights" / "judge.safetensors"
SUBJECT_NAMES = (*SUBJECTS, *HELD_OUT_SUBJECTS)
COLOUR_NAMES = (*COLOURS, *HELD_OUT_COLOURS)
PLACE_NAMES = (*PLACES, *HELD_OUT_PLACES)
COLOURLESS = "ironman"  # wears its own
PORTRAIT_SIDE = 40
_PORTRAIT_ROOM = 1.5  # side of the portrait in sides of the subject's square, which turns inside it
_ANGLE_WINDOW = (0.25, 0.5, 0.25)  # over frames; a misread one is outvoted


@dataclass(frozen=True)
class Reading:
    """What a clip shows, in the world's words (`colour` is empty for ironman), and its channels as in `world.CHANNELS`.

    The camera's channels are relative to the first frame; roll and yaw are in degrees, continuous from frame to frame.
    """

    subject: str
    colour: str
    place: str
    channels: Channels


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_conv(channels, channels), nn.ReLU(), *_conv(channels, channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.relu(x_BCHW + self.layers(x_BCHW))


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False), nn.BatchNorm2d(channels_out)]


def _net(channels_in: int, side: int, num_outputs: int) -> nn.Sequential:
    """A convolutional net of 0.2 M parameters on pictures of `side`, down to an eighth, where places still count."""
    last = side // 8
    return nn.Sequential(
        *(*_conv(channels_in, 24, 2), nn.ReLU(), _Residual(24)),
        *(*_conv(24, 48, 2), nn.ReLU(), _Residual(48)),
        *(*_conv(48, 56, 2), nn.ReLU(), _Residual(56)),
        *(nn.Conv2d(56, 16, 1), nn.Flatten(), nn.Linear(16 * last * last, 56), nn.ReLU(), nn.Linear(56, num_outputs)),
    )


class JudgeNet(nn.Module):
    """The three nets; pictures are (B, C, H, W) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.locator = _net(3, SIDE, 3)
        self.portrait = _net(3, PORTRAIT_SIDE, len(SUBJECT_NAMES) + len(COLOUR_NAMES) + 4)
        self.backdrop = _net(6, SIDE, len(PLACE_NAMES) + 3)

    def locate(self, frames_BCHW: Tensor) -> Tensor:
        """(B, 3): x, y and log scale."""
        located: Tensor = self.locator(frames_BCHW)
        return located.float() * 0.3

    def identify(self, frames_BCHW: Tensor, located_B3: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of subject and colour, and roll and yaw as (cos, sin), of what stands where the locator says."""
        seen: Tensor = self.portrait(cut_out(frames_BCHW, located_B3)).float()
        subject, colour, roll, yaw = torch.split(seen, [len(SUBJECT_NAMES), len(COLOUR_NAMES), 2, 2], dim=1)
        return subject, colour, roll, yaw

    def compare(self, first_BCHW: Tensor, frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the place, and (B, 3) camera x, y and zoom of the frames less those of the first ones."""
        seen: Tensor = self.backdrop(torch.cat([first_BCHW, frames_BCHW], dim=1)).float()
        place, camera = torch.split(seen, [len(PLACE_NAMES), 3], dim=1)
        return place, camera * 0.3


def cut_out(frames_BCHW: Tensor, located_B3: Tensor) -> Tensor:
    """The subjects, each moved to the middle of its own (S, S) picture and brought to one size."""
    x, y, log_scale = located_B3.float().unbind(1)
    size = _PORTRAIT_ROOM * SIZE * log_scale.exp()
    zero = torch.zeros_like(x)
    matrix_B23 = torch.stack([size, zero, 2 * x, zero, size, 2 * y], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix_B23, [len(x), 3, PORTRAIT_SIDE, PORTRAIT_SIDE], align_corners=False)
    return functional.grid_sample(frames_BCHW.float(), grid, padding_mode="border", align_corners=False)


class Judge:
    """A trained `JudgeNet`, put to work on clips."""

    def __init__(self, net: JudgeNet) -> None:
        self.net = net.eval()

    @torch.inference_mode()
    def read(self, frames: Frames) -> Reading:
        """What a clip of (F, H, W, 3) bytes shows and how it moves."""
        frames_FCHW = to_model_range(frames)
        located_F3 = self.net.locate(frames_FCHW)
        subject, colour, roll, yaw = self.net.identify(frames_FCHW, located_F3)
        place, camera_F3 = self.net.compare(frames_FCHW[:1].expand_as(frames_FCHW), frames_FCHW)
        name = _name(subject, SUBJECT_NAMES)
        channels = {
            **_columns(located_F3, ("x", "y", "log_scale")),
            "roll": degrees(roll.numpy()),
            "yaw": degrees(yaw.numpy()),
            **_columns(camera_F3 - camera_F3[:1], ("camera_x", "camera_y", "camera_zoom")),
        }
        return Reading(
            subject=name,
            colour="" if name == COLOURLESS else _name(colour, COLOUR_NAMES),
            place=_name(place, PLACE_NAMES),
            channels=channels,
        )


def load_judge(path: Path | None = None) -> Judge:
    """The judge that ships with cav-mini, or one from other weights."""
    net = JudgeNet()
    net.load_state_dict(load_file(path or WEIGHTS))  # copied from fp16 into fp32
    return Judge(net)


def to_model_range(frames: Frames) -> Tensor:
    """(B, H, W, 3) bytes to (B, 3, H, W) floats in [-1, 1]."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def degrees(direction_F2: NDArray[np.float32]) -> NDArray[np.float64]:
    """Angles of (cos, sin) rows, a row counting as much as it is long, continuous from frame to frame."""
    padded = np.pad(direction_F2.astype(float), ((1, 1), (0, 0)), mode="edge")
    before, at, after = (weight * padded[i : len(padded) - 2 + i] for i, weight in enumerate(_ANGLE_WINDOW))
    cos, sin = (before + at + after).T
    return np.asarray(np.unwrap(np.rad2deg(np.arctan2(sin, cos)), period=360.0))


def _name(logits_FN: Tensor, names: tuple[str, ...]) -> str:
    return names[int(logits_FN.mean(dim=0).argmax())]


def _columns(values_FN: Tensor, names: tuple[str, ...]) -> Channels:
    return dict(zip(names, values_FN.numpy().astype(float).T, strict=True))
