"""The judge: recovers from a clip of cav-mini's world what it shows and every channel of how it moves.

Small nets, one for each question, because together they learned none of the answers: the locator finds the subject in a
frame; the namer sees it cut out there at one size and turned step by step, tells how upright it looks, and of the most
upright which it is and its yaw; the painter its colour; the backdrop net the place and its zoom. How the camera moved
is geometry (`mini.camera`). Trained by `cavtool.mini.train_judge`.

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
_NUM_TURNS = 16  # rolls tried
_SWING_COST = 0.15  # of rolling on by one of those steps from a frame to the next; it grows with the square
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
class Look:
    """What portraits tell: logits of the subject (B, N), yaw as (cos, sin), and the logit of being upright (B,).

    `roll` (B,) is the roll that is left, in radians, where the portrait is upright but for a little.
    """

    subject: Tensor
    yaw: Tensor
    upright: Tensor
    roll: Tensor


class JudgeNet(nn.Module):
    """The nets; pictures are (B, C, H, W) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        last = PORTRAIT_SIDE // 8
        namer, painter = (
            nn.Linear(96 * last * last, len(SUBJECT_NAMES) + 4),
            nn.Linear(16 * last * last, len(COLOUR_NAMES)),
        )
        self.locator = nn.Sequential(*_trunk(3, 24, 48, 64), *_head(64, SIDE // 8, 64, 3))
        self.namer = nn.Sequential(*_trunk(3, 32, 64, 96), nn.Flatten(), namer)
        self.painter = nn.Sequential(*_trunk(3, 12, 16, 16), nn.Flatten(), painter)
        self.backdrop = nn.Sequential(*_trunk(3, 16, 32, 48), *_head(48, SIDE // 8, 64, len(PLACE_NAMES) + 1))

    def locate(self, frames_BCHW: Tensor) -> Tensor:
        """(B, 3): x, y and log scale."""
        located: Tensor = self.locator(frames_BCHW)
        return 0.3 * located.float()

    def look(self, portraits_BCSS: Tensor) -> Look:
        """What portraits tell."""
        seen = self.namer(portraits_BCSS).float()
        subject, yaw, upright, roll = torch.split(seen, [len(SUBJECT_NAMES), 2, 1, 1], dim=1)
        return Look(subject, yaw, upright[:, 0], roll[:, 0])

    def paint(self, portraits_BCSS: Tensor) -> Tensor:
        """Logits of the colour."""
        colour: Tensor = self.painter(portraits_BCSS)
        return colour.float()

    def survey(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the place, and the log zoom (B,)."""
        place, zoom = torch.split(self.backdrop(frames_BCHW).float(), [len(PLACE_NAMES), 1], dim=1)
        return place, zoom[:, 0]


def cut_out(frames_BCHW: Tensor, located_B3: Tensor, roll_B: Tensor) -> Tensor:
    """The subjects, each moved to the middle of its own picture, brought to one size, and turned back by its roll."""
    x, y, log_scale = located_B3.float().unbind(1)
    size = _PORTRAIT_ROOM * SIZE * log_scale.exp()
    cos, sin = size * roll_B.cos(), size * roll_B.sin()
    matrix_B23 = torch.stack([cos, -sin, 2 * x, sin, cos, 2 * y], dim=1).view(-1, 2, 3)
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
        roll_F = self._roll(frames_FCHW, located_F3)
        portraits_FCSS = cut_out(frames_FCHW, located_F3, roll_F)
        look, colour = self.net.look(portraits_FCSS), self.net.paint(portraits_FCSS)
        place, zoom_F = self.net.survey(frames_FCHW)
        moved_F3 = track(frames_FCHW, torch.cat([located_F3[:, :2], SIZE * located_F3[:, 2:].exp()], dim=1))
        moved_F3[:, :2] *= torch.exp(moved_F3[:, 2] - zoom_F).median()  # from the first frame's scale to the world's
        name = _name(look.subject, SUBJECT_NAMES)
        channels = {
            **_columns(located_F3, ("x", "y", "log_scale")),
            "roll": degrees(_direction(roll_F + look.roll)),
            "yaw": degrees(look.yaw.numpy()),
            **_columns(moved_F3, ("camera_x", "camera_y", "camera_zoom")),
        }
        return Reading(
            subject=name,
            colour="" if name == COLOURLESS else _name(colour, COLOUR_NAMES),
            place=_name(place, PLACE_NAMES),
            channels=channels,
        )

    def _roll(self, frames_FCHW: Tensor, located_F3: Tensor) -> Tensor:
        """(F,): the rolls, in radians, that make the subject look upright, and follow from one another."""
        turns_T = 2 * torch.pi * torch.arange(_NUM_TURNS) / _NUM_TURNS
        portraits = [cut_out(frames_FCHW, located_F3, turn.expand(len(frames_FCHW))) for turn in turns_T]
        upright_TF = torch.stack([self.net.look(each_FCSS).upright for each_FCSS in portraits])
        turn_F = turns_T[_steady_path(functional.logsigmoid(upright_TF.T))]
        return turn_F + self.net.look(cut_out(frames_FCHW, located_F3, turn_F)).roll


def load_judge(path: Path | None = None) -> Judge:
    """The judge that ships with cav-mini, or one from other weights."""
    net = JudgeNet()
    net.load_state_dict(load_file(path or WEIGHTS))  # copied from fp16 into fp32
    return Judge(net)


def to_model_range(frames: Frames) -> Tensor:
    """(B, H, W, 3) bytes to (B, 3, H, W) floats in [-1, 1]."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def _steady_path(fit_FT: Tensor) -> Tensor:
    """(F,): the turns of best total fit, less what it costs to jump between them (Viterbi 1967)."""
    num_turns = fit_FT.shape[1]
    apart_TT = (torch.arange(num_turns) - torch.arange(num_turns)[:, None]).abs()
    cost_TT = _SWING_COST * torch.minimum(apart_TT, num_turns - apart_TT) ** 2
    total_T, came_from = fit_FT[0], []
    for fit_T in fit_FT[1:]:
        best_T, before_T = (total_T[:, None] - cost_TT).max(dim=0)
        total_T = best_T + fit_T
        came_from.append(before_T)
    path = [total_T.argmax()]
    for before_T in reversed(came_from):
        path.append(before_T[path[-1]])
    return torch.stack(path[::-1])


def degrees(direction_F2: NDArray[np.float32]) -> NDArray[np.float64]:
    """Angles of (cos, sin) rows, a row counting as much as it is long, continuous from frame to frame."""
    padded = np.pad(direction_F2.astype(float), ((1, 1), (0, 0)), mode="edge")
    before, at, after = (weight * padded[i : len(padded) - 2 + i] for i, weight in enumerate(_ANGLE_WINDOW))
    cos, sin = (before + at + after).T
    return np.asarray(np.unwrap(np.rad2deg(np.arctan2(sin, cos)), period=360.0))


def _direction(radians_F: Tensor) -> NDArray[np.float32]:
    return np.asarray(torch.stack([radians_F.cos(), radians_F.sin()], dim=1).numpy())


def _name(logits_FN: Tensor, names: tuple[str, ...]) -> str:
    return names[int(logits_FN.mean(dim=0).argmax())]


def _columns(values_FN: Tensor, names: tuple[str, ...]) -> Channels:
    return dict(zip(names, values_FN.numpy().astype(float).T, strict=True))
