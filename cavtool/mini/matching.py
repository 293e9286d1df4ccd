"""Who a clip shows and in what pose, by analysis by synthesis: the world's own sprites are held against its frames.

A subject in a pose has its likelihood: of the pixels it covers, how much better its sprite explains them (colours that
differ by a normal error) than the rest of the clip does (how often it shows such colours). Every turn is tried in every
placing near the one believed so far; along a clip the likeliest steady path of turns is taken.

Shapes: F frames, N turns, K placings, C channels, H W, S the side of a cut-out, L looks, and 3 for a placing: x, y, log
scale. A turn is a yaw and a roll; numbered, the roll counts fastest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cavtool.mini.sprites import COLOURLESS, SPRITE_ROOM, SUBJECT_NAMES, subject_view
from cavtool.mini.world import SIZE

CUT_SIDE, ROOM = 24, 1.5  # of a cut-out: pixels, and sides of the subject's square
_SHRINK = 4  # a sprite has that many pixels for one of a cut-out's
_COLOUR_ERROR = 0.3  # standard deviation, of 2
_TRUST = 1.5  # in the subject, against the backdrop, in nats a pixel
_AT_LEAST = 3 * math.log(_COLOUR_ERROR * math.sqrt(2 * math.pi)) - _TRUST  # nats for a pixel of just the colour
_NUM_BINS = 16  # of a colour channel
_UNSEEN = 0.02  # how likely the backdrop shows colours it shows nowhere else
_SWING_COST = 0.02 / math.radians(15) ** 2  # of a turn from a frame to the next, per squared radian
_NUM_STEPS = 24  # of a full turn
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
class _Path:
    """What a look comes to at its best: its cost in nats, placings (F, 3), yaw and roll (F,) in radians, unwrapped."""

    cost: float
    placings: Tensor
    yaw: Tensor
    roll: Tensor


def match(frames_FCHW: Tensor, placed_F3: Tensor, colours: Sequence[str]) -> Match:
    """The subject of a clip, given about where it is and which colours it may have; frames are in [-1, 1]."""
    evidence_FCHW = _evidence(frames_FCHW, placed_F3)
    looks = [(name, colour) for colour in colours for name in SUBJECT_NAMES if name != COLOURLESS]
    looks.append((COLOURLESS, colours[0]))
    finalists = _likeliest(evidence_FCHW[::4], placed_F3[::4], looks)
    paths = [_follow(evidence_FCHW, placed_F3, *look) for look in finalists]
    path, (subject, colour) = min(zip(paths, finalists, strict=True), key=lambda pair: pair[0].cost)
    return Match(
        subject=subject,
        colour="" if subject == COLOURLESS else colour,
        placings=path.placings,
        roll=np.rad2deg(path.roll.numpy().astype(float)),
        yaw=np.rad2deg(path.yaw.numpy().astype(float)),
    )


# What there is to explain


def _evidence(frames_FCHW: Tensor, placed_F3: Tensor) -> Tensor:
    """(F, 4, H, W): what a covered pixel costs before the sprite's colour is known, and the pixel's colours."""
    cost_FHW = frames_FCHW.square().sum(1) / (2 * _COLOUR_ERROR**2) + _backdrop(frames_FCHW, placed_F3)
    return torch.cat([cost_FHW[:, None], frames_FCHW], dim=1)


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


# What a look would show


def _templates(subject: str, colour: str) -> tuple[Tensor, Tensor]:
    """All turns of a look: their pixels (N, 4, S, S), to be multiplied with evidence, and what is to be added (N,)."""
    views = np.stack([subject_view(subject, colour, round(360 * step / _NUM_STEPS)) for step in range(_NUM_STEPS)])
    views_NCHW = torch.from_numpy(views).permute(0, 3, 1, 2).float() / 255
    solid_NCHW = torch.cat([views_NCHW[:, 3:], (2 * views_NCHW[:, :3] - 1) * views_NCHW[:, 3:]], dim=1)
    small_NCHW = functional.avg_pool2d(solid_NCHW, _SHRINK).repeat_interleave(_NUM_STEPS, dim=0)
    roll_N = (torch.arange(_NUM_STEPS) * 2 * torch.pi / _NUM_STEPS).repeat(_NUM_STEPS)
    turned = _cut(small_NCHW, torch.zeros(len(roll_N), 2), torch.full_like(roll_N, ROOM / SPRITE_ROOM), roll_N)
    cover, colours = turned[:, :1], turned[:, 1:]
    error = colours.square() / cover.clamp(min=1e-3) / (2 * _COLOUR_ERROR**2)
    offset_N = (error.sum(1, keepdim=True) + _AT_LEAST * cover).sum((1, 2, 3))
    return torch.cat([cover, -colours / _COLOUR_ERROR**2], dim=1), offset_N


def cut_out(frames_FCHW: Tensor, placed_F3: Tensor) -> Tensor:
    """The subjects (F, C, S, S), each moved to the middle of its own picture and brought to one size."""
    x, y, log_scale = placed_F3.unbind(1)
    return _cut(frames_FCHW, torch.stack([x, y], dim=1), ROOM * SIZE * log_scale.exp(), torch.zeros_like(x))


def _cut(pictures_XCHW: Tensor, middle_X2: Tensor, size_X: Tensor, roll_X: Tensor) -> Tensor:
    """Squares (X, C, S, S) out of pictures: about a middle (from the picture's, in its sides), of a size, upright."""
    cos, sin = size_X * roll_X.cos(), size_X * roll_X.sin()
    right, down = 2 * middle_X2.T
    matrix = torch.stack([cos, sin, right, -sin, cos, down], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, [len(size_X), 1, CUT_SIDE, CUT_SIDE], align_corners=False)
    return functional.grid_sample(pictures_XCHW, grid, padding_mode="border", align_corners=False)


# Search


def _near(reach: float, scale_reach: float, num_steps: int) -> Tensor:
    """(K, 3): steps around a placing, in sides of its cut-out, and of log scale."""
    shifts, scales = (torch.linspace(-most, most, num_steps) for most in (reach, scale_reach))
    return torch.cartesian_prod(shifts, shifts, scales)


_ROUGH, _WIDE, _CLOSE = _near(0.08, 0.15, 3), _near(0.1, 0.2, 5), _near(0.03, 0.06, 3)


def _costs(
    evidence_FCHW: Tensor, placed_F3: Tensor, steps_K3: Tensor, templates: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """What the turns cost in every frame and placing (N, F, K), and what these placings are (F, K, 3).

    Costs are nats a pixel of a cut-out of the usual size.
    """
    side_F1 = ROOM * SIZE * placed_F3[:, 2:].exp()
    units_F3 = torch.cat([side_F1, side_F1, torch.ones_like(side_F1)], dim=1)
    tried_FK3 = placed_F3[:, None] + steps_K3 * units_F3[:, None]
    cuts = cut_out(evidence_FCHW.repeat_interleave(len(steps_K3), dim=0), tried_FK3.flatten(0, 1))
    pixels, offset_N = templates
    costs_NFK = torch.addmm(offset_N[:, None], pixels.flatten(1), cuts.flatten(1).T).view(-1, *tried_FK3.shape[:2])
    return costs_NFK * (2 * tried_FK3[..., 2]).exp() / CUT_SIDE**2, tried_FK3


def _likeliest(evidence_FCHW: Tensor, placed_F3: Tensor, looks: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The looks that explain the frames best, each frame for itself, at a rough glance."""
    costs_L = []
    for look in looks:
        costs_NFK, _ = _costs(evidence_FCHW, placed_F3, _ROUGH, _templates(*look))
        costs_L.append(costs_NFK.amin((0, 2)).sum())
    best = torch.stack(costs_L).topk(min(_NUM_FINALISTS, len(looks)), largest=False).indices
    return [looks[i] for i in best.tolist()]


def _follow(evidence_FCHW: Tensor, placed_F3: Tensor, subject: str, colour: str) -> _Path:
    """A look along the clip: steady in its turns, in every frame placed where it fits best."""
    templates = _templates(subject, colour)
    for steps_K3 in (_WIDE, _CLOSE):
        costs_NFK, tried_FK3 = _costs(evidence_FCHW, placed_F3, steps_K3, templates)
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
    return torch.from_numpy(np.unwrap(((step_F + off_F) * 2 * torch.pi / num_steps).numpy()))
