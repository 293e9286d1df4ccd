"""The judge: recovers from a clip of cav-mini's world what it shows and every channel of how it moves.

Small nets, one for each question, because together they learned none of the answers: the locator finds the subject in a
frame; the poser sees it cut out as placed so far, says how far off place, size and roll are, and looks again at the
corrected cut-out; the namer, who sees every subject in the middle and upright, tells which it is and its yaw, the
painter its colour; the backdrop net tells the place and its zoom. How the camera moved is geometry (`mini.camera`).
Trained by `cavtool.mini.train_judge`.

Shapes: B batch, F frames, C channels, H W, S the side of a portrait, and 4 for a placing: x, y, log scale, roll in
radians.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from cavtool.mini.camera import track
from cavtool.mini.places import HELD_OUT_PLACES, PLACES
from cavtool.mini.sprites import COLOURS, HELD_OUT_COLOURS, HELD_OUT_SUBJECTS, SUBJECTS
from cavtool.mini.world import SIDE, SIZE, Channels, Frames

WEIGHTS = Path(__file__).parent / "weights" / "judge.safetensors"
SUBJECT_NAMES = (*SUBJECTS, *HELD_OUT_SUBJECTS)
COLOUR_NAMES = (*COLOURS, *HELD_OUT_COLOURS)
PLACE_NAMES = (*PLACES, *HELD_OUT_PLACES)
COLOURLESS = "ironman"  # wears its own
PORTRAIT_SIDE = 40
_PORTRAIT_ROOM = 1.25  # side of the portrait in sides of the subject's square
_NUM_LOOKS = 3
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


@dataclass(frozen=True)
class Pose:
    """Where in a portrait the subject really is.

    `shift` (B, 2) is in half portraits, along its own axes; `growth` (B, 1) is a difference of log scales; `roll`
    (B, 2) is what is left of it, as (cos, sin).
    """

    shift: Tensor
    growth: Tensor
    roll: Tensor


class JudgeNet(nn.Module):
    """The nets; pictures are (B, C, H, W) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        last = PORTRAIT_SIDE // 8
        self.locator = nn.Sequential(*_trunk(3, 16, 32, 48), *_head(48, SIDE // 8, 56, 3))
        self.poser = nn.Sequential(*_trunk(3, 24, 48, 64), *_head(64, last, 128, 5))
        self.namer = nn.Sequential(
            *(*_trunk(3, 24, 48, 64), nn.Flatten(), nn.Linear(64 * last * last, len(SUBJECT_NAMES) + 2))
        )
        self.painter = nn.Sequential(
            *(*_trunk(3, 12, 16, 16), nn.Flatten(), nn.Linear(16 * last * last, len(COLOUR_NAMES)))
        )
        self.backdrop = nn.Sequential(*_trunk(3, 16, 32, 48), *_head(48, SIDE // 8, 64, len(PLACE_NAMES) + 1))

    def locate(self, frames_BCHW: Tensor) -> Tensor:
        """(B, 4): a first placing, upright."""
        return functional.pad(0.3 * self.locator(frames_BCHW).float(), (0, 1))

    def pose(self, portraits_BCSS: Tensor) -> Pose:
        """How far off the placing of portraits is."""
        return Pose(*torch.split(self.poser(portraits_BCSS).float(), [2, 1, 2], dim=1))

    def name(self, portraits_BCSS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the subject and of the colour, and the yaw as (cos, sin), of portraits set upright."""
        subject, yaw = torch.split(self.namer(portraits_BCSS).float(), [len(SUBJECT_NAMES), 2], dim=1)
        return subject, self.painter(portraits_BCSS).float(), yaw

    def survey(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the place, and the log zoom (B,)."""
        place, zoom = torch.split(self.backdrop(frames_BCHW).float(), [len(PLACE_NAMES), 1], dim=1)
        return place, zoom[:, 0]


def portrait_size(log_scale_B: Tensor) -> Tensor:
    """The side of a portrait, in frame widths."""
    return _PORTRAIT_ROOM * SIZE * log_scale_B.exp()


def cut_out(frames_BCHW: Tensor, placed_B4: Tensor) -> Tensor:
    """The subjects, each moved to the middle of its own picture, brought to one size, and set upright."""
    x, y, log_scale, roll = placed_B4.float().unbind(1)
    cos, sin = portrait_size(log_scale) * roll.cos(), portrait_size(log_scale) * roll.sin()
    matrix_B23 = torch.stack([cos, -sin, 2 * x, sin, cos, 2 * y], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix_B23, [len(x), 3, PORTRAIT_SIDE, PORTRAIT_SIDE], align_corners=False)
    return functional.grid_sample(frames_BCHW.float(), grid, padding_mode="border", align_corners=False)


def correct(placed_B4: Tensor, pose: Pose) -> Tensor:
    """The placing that a look at its portrait suggests."""
    x, y, log_scale, roll = placed_B4.unbind(1)
    right, down = (pose.shift * (portrait_size(log_scale) / 2).unsqueeze(1)).unbind(1)
    x, y = x + right * roll.cos() - down * roll.sin(), y + right * roll.sin() + down * roll.cos()
    return torch.stack([x, y, log_scale + pose.growth[:, 0], roll + pose.roll[:, 1].atan2(pose.roll[:, 0])], dim=1)


def seen_from(placed_B4: Tensor, truth_B4: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The shift, growth and roll (radians) its portrait should tell: `correct`, the other way round."""
    away = (truth_B4 - placed_B4).float()
    roll, half = placed_B4[:, 3], portrait_size(placed_B4[:, 2]) / 2
    right = (away[:, 0] * roll.cos() + away[:, 1] * roll.sin()) / half
    down = (away[:, 1] * roll.cos() - away[:, 0] * roll.sin()) / half
    return torch.stack([right, down], dim=1), away[:, 2:3], away[:, 3]


class Judge:
    """A trained `JudgeNet`, put to work on clips."""

    def __init__(self, net: JudgeNet) -> None:
        self.net = net.eval()

    @torch.inference_mode()
    def read(self, frames: Frames) -> Reading:
        """What a clip of (F, H, W, 3) bytes shows and how it moves."""
        frames_FCHW = to_model_range(frames)
        placed_F4 = self.net.locate(frames_FCHW)
        for _ in range(_NUM_LOOKS):
            pose, turned_F = self.net.pose(cut_out(frames_FCHW, placed_F4)), placed_F4[:, 3]
            placed_F4 = correct(placed_F4, pose)
        subject, colour, yaw = self.net.name(cut_out(frames_FCHW, placed_F4))
        place, zoom_F = self.net.survey(frames_FCHW)
        moved_F3 = track(frames_FCHW, torch.stack([*placed_F4[:, :2].T, SIZE * placed_F4[:, 2].exp()], dim=1))
        moved_F3[:, :2] *= torch.exp(moved_F3[:, 2] - zoom_F).median()  # from the first frame's scale to the world's
        name = _name(subject, SUBJECT_NAMES)
        channels = {
            **_columns(placed_F4[:, :3], ("x", "y", "log_scale")),
            "roll": degrees(_turn(pose.roll, turned_F).numpy()),
            "yaw": degrees(yaw.numpy()),
            **_columns(moved_F3, ("camera_x", "camera_y", "camera_zoom")),
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


def _turn(direction_F2: Tensor, radians_F: Tensor) -> Tensor:
    """(cos, sin) rows turned further."""
    (cos, sin), (a, b) = (radians_F.cos(), radians_F.sin()), direction_F2.unbind(1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=1)


def _name(logits_FN: Tensor, names: tuple[str, ...]) -> str:
    return names[int(logits_FN.mean(dim=0).argmax())]


def _columns(values_FN: Tensor, names: tuple[str, ...]) -> Channels:
    return dict(zip(names, values_FN.numpy().astype(float).T, strict=True))
