"""Who a clip shows and in what pose, by analysis by synthesis: the world's own sprites are held against its frames.

A subject in a pose has its likelihood: of the pixels it covers, how much better its sprite explains them (colours that
differ by a normal error, or are just wrong) than the rest of the clip does (how often it shows such colours). A subject
is likelier upright than turned or rolled, and hardly ever both. Every turn is tried in every placing near the one
believed so far; along a clip the likeliest steady path of turns is taken.

Shapes: F frames, N turns, K placings, P colours of a palette, H W, S the side of a cut-out, X what is cut and Y how
often, L looks, and 3 for a colour or a placing: x, y, log scale. A turn is a yaw and a roll; numbered, the roll counts
fastest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cavtool.mini.sprites import COLOURLESS, SPRITE_ROOM, SUBJECT_NAMES, subject_view
from cavtool.mini.world import SIZE

CUT_SIDE, ROOM = 24, 1.5  # of a cut-out: pixels, and sides of the subject's square
_SHRINK = 4  # a sprite has that many pixels for one of a cut-out's
_PALETTE_SIZE = 12
_COLOUR_ERROR = 0.3  # standard deviation, of 2
_WRONG = 7.0  # nats that a pixel of quite another colour costs
_TRUST = 1.5  # in the subject, against the backdrop, in nats a pixel
_AT_LEAST = 3 * math.log(_COLOUR_ERROR * math.sqrt(2 * math.pi)) - _TRUST  # nats for a pixel of just the colour
_NUM_BINS = 16  # of a colour channel
_UNSEEN = 0.02  # how likely the backdrop shows colours it shows nowhere else
_TURNED, _TURNED_AND_ROLLED = 0.05, 0.3  # what a pose far from upright costs, either way and both ways
_FAR = math.radians(35)
_SWING_COST = 0.02 / math.radians(15) ** 2  # of a turn from a frame to the next, per squared radian
_NUM_STEPS, _ROUGH_STEPS = 24, 12  # of a full turn
_NUM_FINALISTS = 5


@dataclass(frozen=True)
class Match:
    """The subject of a clip: its colour ("" for ironman), placings (F, 3), and turns (F,) in degrees, unwrapped."""

    subject: str
    colour: str
    placings: Tensor
    roll: NDArray[np.float64]
    yaw: NDArray[np.float64]


@dataclass(frozen=True)
class _Clip:
    """Frames (F, 3, H, W), how likely each pixel's colour is as one of the backdrop's (F, H, W), in nats."""

    frames: Tensor
    backdrop: Tensor


@dataclass(frozen=True)
class _Templates:
    """A look in all turns.

    Its colours (P, 3), how much of each pixel of a cut-out it covers with which (N, P * S * S), and what each turn
    costs before anything is seen (N,).
    """

    palette: Tensor
    masks: Tensor
    turned: Tensor


@dataclass(frozen=True)
class _Path:
    """What a look comes to at its best: its cost in nats, placings (F, 3), yaw and roll (F,) in radians, unwrapped."""

    cost: float
    placings: Tensor
    yaw: Tensor
    roll: Tensor


def match(frames_FCHW: Tensor, placed_F3: Tensor, colours: Sequence[str]) -> Match:
    """The subject of a clip, given about where it is and which colours it may have; frames are in [-1, 1]."""
    clip = _Clip(frames_FCHW, _backdrop(frames_FCHW, placed_F3))
    looks = [(name, colour) for colour in colours for name in SUBJECT_NAMES if name != COLOURLESS]
    looks.append((COLOURLESS, colours[0]))
    finalists = _likeliest(clip, placed_F3, looks)
    paths = [_follow(clip, placed_F3, *look) for look in finalists]
    path, (subject, colour) = min(zip(paths, finalists, strict=True), key=lambda pair: pair[0].cost)
    return Match(
        subject=subject,
        colour="" if subject == COLOURLESS else colour,
        placings=path.placings,
        roll=np.rad2deg(path.roll.numpy().astype(float)),
        yaw=np.rad2deg(path.yaw.numpy().astype(float)),
    )


# What there is to explain


def _backdrop(frames_FCHW: Tensor, placed_F3: Tensor) -> Tensor:
    """(F, H, W): the log likelihood of each pixel's colour as one of the backdrop's."""
    line = (torch.arange(frames_FCHW.shape[-1]) + 0.5) / frames_FCHW.shape[-1] - 0.5
    x, y, log_scale = placed_F3[:, :, None, None].unbind(1)
    away_FHW = torch.maximum((line - x).abs(), (line[:, None] - y).abs())
    bins_FHW3 = ((frames_FCHW.movedim(1, -1) + 1) / 2 * _NUM_BINS).long().clamp(0, _NUM_BINS - 1)
    bins_FHW = (bins_FHW3 * torch.tensor([_NUM_BINS**2, _NUM_BINS, 1])).sum(-1)
    outside = bins_FHW[away_FHW > 0.62 * SIZE * log_scale.exp()]
    counts = torch.bincount(outside, minlength=_NUM_BINS**3).float().view(1, *[_NUM_BINS] * 3)
    share = functional.avg_pool3d(counts, 3, stride=1, padding=1).flatten() / max(1, len(outside))
    density = (1 - _UNSEEN) * share * (_NUM_BINS / 2) ** 3 + _UNSEEN / 2**3
    return density.log()[bins_FHW]


def _covered(clip: _Clip, palette_P3: Tensor) -> Tensor:
    """(F, P, H, W): what a pixel costs, in nats, that the subject covers with each colour."""
    error_FPHW = (clip.frames[:, None] - palette_P3[:, :, None, None]).square().sum(2) / (2 * _COLOUR_ERROR**2)
    return _WRONG * (1 - (-error_FPHW / _WRONG).exp()) + _AT_LEAST + clip.backdrop[:, None]


# What a look would show


def _templates(subject: str, colour: str, num_steps: int) -> _Templates:
    views = np.stack([subject_view(subject, colour, round(360 * step / num_steps)) for step in range(num_steps)])
    views_NCHW = torch.from_numpy(views).permute(0, 3, 1, 2).float() / 255
    solid_NCHW = torch.cat([views_NCHW[:, 3:], (2 * views_NCHW[:, :3] - 1) * views_NCHW[:, 3:]], dim=1)
    small_NCHW = functional.avg_pool2d(solid_NCHW, _SHRINK).repeat_interleave(num_steps, dim=0)
    roll_N1 = (torch.arange(num_steps) * 2 * torch.pi / num_steps).repeat(num_steps)[:, None]
    middle_N12, size_N1 = torch.zeros(len(roll_N1), 1, 2), torch.full_like(roll_N1, ROOM / SPRITE_ROOM)
    turned_NCSS = _cut(small_NCHW, middle_N12, size_N1, roll_N1)[:, 0]
    cover_NSS = turned_NCSS[:, 0]
    colour_NSS3 = turned_NCSS[:, 1:].movedim(1, -1) / cover_NSS[..., None].clamp(min=1e-3)
    palette_P3 = _palette(colour_NSS3[cover_NSS > 0.3])
    nearest_NSS = torch.cdist(colour_NSS3.flatten(0, 2), palette_P3).argmin(1).view(cover_NSS.shape)
    masks = [torch.where(nearest_NSS == number, cover_NSS, 0.0) for number in range(len(palette_P3))]
    return _Templates(palette_P3, torch.stack(masks, dim=1).flatten(1), _pose_costs(num_steps))


def _pose_costs(num_steps: int) -> Tensor:
    """(N,): what each turn costs before anything is seen."""
    step = torch.arange(num_steps)
    angle = torch.minimum(step, num_steps - step) * 2 * torch.pi / num_steps
    far = 1 - (-(angle / _FAR).square()).exp()
    yaw, roll = far[:, None], far
    return (_TURNED * (yaw + roll) + _TURNED_AND_ROLLED * yaw * roll).flatten()


def _palette(colours_X3: Tensor) -> Tensor:
    """A few colours (P, 3) that stand for these, in [-1, 1]."""
    some_X3 = ((colours_X3[:: len(colours_X3) // 4_000 + 1].clamp(-1, 1) + 1) * 127.5).byte()
    picture = Image.fromarray(some_X3[None].numpy()).quantize(_PALETTE_SIZE, kmeans=2)
    return torch.tensor((picture.getpalette() or [])[: 3 * _PALETTE_SIZE]).view(-1, 3) / 127.5 - 1


def cut_out(frames_FCHW: Tensor, placed_F3: Tensor) -> Tensor:
    """The subjects (F, C, S, S), each moved to the middle of its own picture and brought to one size."""
    return _cut_placed(frames_FCHW, placed_F3[:, None])[:, 0]


def _cut_placed(pictures_FCHW: Tensor, placed_FK3: Tensor) -> Tensor:
    """(F, K, C, S, S): what is at these placings of each picture."""
    side_FK = ROOM * SIZE * placed_FK3[..., 2].exp()
    return _cut(pictures_FCHW, placed_FK3[..., :2], side_FK, torch.zeros_like(side_FK))


def _cut(pictures_XCHW: Tensor, middle_XY2: Tensor, size_XY: Tensor, roll_XY: Tensor) -> Tensor:
    """Squares (X, Y, C, S, S) of pictures: about a middle (from the picture's, in its sides), of a size, upright."""
    cos, sin = size_XY * roll_XY.cos(), size_XY * roll_XY.sin()
    right, down = (2 * middle_XY2).unbind(-1)
    matrix = torch.stack([cos, sin, right, -sin, cos, down], dim=-1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, [len(matrix), 1, CUT_SIDE, CUT_SIDE], align_corners=False)
    rows = grid.view(len(pictures_XCHW), -1, CUT_SIDE, 2)  # the squares of one picture below each other
    cut = functional.grid_sample(pictures_XCHW, rows, padding_mode="border", align_corners=False)
    return cut.view(*cut.shape[:2], -1, CUT_SIDE, CUT_SIDE).movedim(2, 1)


# Search


def _near(reach: float, scale_reach: float, num_steps: int) -> Tensor:
    """(K, 3): steps around a placing, in sides of its cut-out, and of log scale."""
    shifts, scales = (torch.linspace(-most, most, num_steps) for most in (reach, scale_reach))
    return torch.cartesian_prod(shifts, shifts, scales)


_ROUGH, _WIDE, _CLOSE = _near(0.08, 0.15, 3), _near(0.1, 0.2, 5), _near(0.03, 0.06, 3)


def _costs(clip: _Clip, placed_F3: Tensor, steps_K3: Tensor, templates: _Templates) -> tuple[Tensor, Tensor]:
    """What the turns cost in every frame and placing (N, F, K), and what these placings are (F, K, 3).

    Costs are nats a pixel of a cut-out of the usual size.
    """
    side_F1 = ROOM * SIZE * placed_F3[:, 2:].exp()
    units_F3 = torch.cat([side_F1, side_F1, torch.ones_like(side_F1)], dim=1)
    tried_FK3 = placed_F3[:, None] + steps_K3 * units_F3[:, None]
    cuts_XV = _cut_placed(_covered(clip, templates.palette), tried_FK3).flatten(0, 1).flatten(1)
    costs_NFK = (templates.masks @ cuts_XV.T).view(-1, *tried_FK3.shape[:2])
    shown_NFK = costs_NFK * (2 * tried_FK3[..., 2]).exp() / CUT_SIDE**2
    return shown_NFK + templates.turned[:, None, None], tried_FK3


def _likeliest(clip: _Clip, placed_F3: Tensor, looks: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The looks that explain every fourth frame best, each frame for itself, at a rough glance."""
    some, placed_F3, costs_L = _Clip(clip.frames[::4], clip.backdrop[::4]), placed_F3[::4], []
    for look in looks:
        costs_NFK, _ = _costs(some, placed_F3, _ROUGH, _templates(*look, _ROUGH_STEPS))
        costs_L.append(costs_NFK.amin((0, 2)).sum())
    best = torch.stack(costs_L).topk(min(_NUM_FINALISTS, len(looks)), largest=False).indices
    return [looks[i] for i in best.tolist()]


def _follow(clip: _Clip, placed_F3: Tensor, subject: str, colour: str) -> _Path:
    """A look along the clip: steady in its turns, in every frame placed where it fits best."""
    templates = _templates(subject, colour, _NUM_STEPS)
    for steps_K3 in (_WIDE, _CLOSE):
        costs_NFK, tried_FK3 = _costs(clip, placed_F3, steps_K3, templates)
        costs_NF, best_NF = costs_NFK.min(dim=2)
        turn_F, cost = steadiest(costs_NF.view(_NUM_STEPS, _NUM_STEPS, -1))
        frame_F = torch.arange(len(placed_F3))
        placed_F3 = tried_FK3[frame_F, best_NF[turn_F, frame_F]]
    return _Path(cost, placed_F3, *_between(costs_NF.view(_NUM_STEPS, _NUM_STEPS, -1), turn_F))


def steadiest(costs_YRF: Tensor) -> tuple[Tensor, float]:
    """The turns (F,), numbered, of least total cost, turning from one to the next included (Viterbi 1967), and that.

    Costs are those of each yaw and roll, both a full circle in even steps, in every frame.
    """
    num_yaws, num_rolls, num_frames = costs_YRF.shape
    yaw_YY, roll_RR = _swing_costs(num_yaws), _swing_costs(num_rolls)
    total_YR, came_from = costs_YRF[..., 0], []
    for f in range(1, num_frames):
        rolled_YR, from_roll_YR = (total_YR[:, :, None] + roll_RR).min(dim=1)
        total_YR, from_yaw_YR = (rolled_YR[:, None, :] + yaw_YY[:, :, None]).min(dim=0)
        came_from.append((from_yaw_YR * num_rolls + from_roll_YR.gather(0, from_yaw_YR)).flatten())
        total_YR = total_YR + costs_YRF[..., f]
    path = [total_YR.flatten().argmin()]
    for before in reversed(came_from):
        path.append(before[path[-1]])
    return torch.stack(path[::-1]), float(total_YR.min())


def _swing_costs(num_steps: int) -> Tensor:
    step = torch.arange(num_steps)
    apart = (step - step[:, None]).abs()
    return _SWING_COST * (torch.minimum(apart, num_steps - apart) * 2 * torch.pi / num_steps).square()


def _between(costs_YRF: Tensor, turn_F: Tensor) -> tuple[Tensor, Tensor]:
    """Yaw and roll (F,) in radians, unwrapped: the lowest points of parabolas through a turn and its neighbours."""
    num_rolls, frame_F = costs_YRF.shape[1], torch.arange(len(turn_F))
    yaw_F, roll_F = turn_F // num_rolls, turn_F % num_rolls
    return _lowest(costs_YRF[:, roll_F, frame_F], yaw_F), _lowest(costs_YRF[yaw_F, :, frame_F].T, roll_F)


def _lowest(costs_NF: Tensor, step_F: Tensor) -> Tensor:
    num_steps, frame_F = len(costs_NF), torch.arange(len(step_F))
    before, at, after = (costs_NF[(step_F + off) % num_steps, frame_F] for off in (-1, 0, 1))
    off_F = ((before - after) / (2 * (before + after - 2 * at)).clamp(min=1e-6)).clamp(-0.5, 0.5)
    angle_F = torch.from_numpy(np.unwrap(((step_F + off_F) * 2 * torch.pi / num_steps).numpy()))
    return angle_F - 2 * torch.pi * (angle_F[0] / (2 * torch.pi)).round()  # begins within half a turn of upright
