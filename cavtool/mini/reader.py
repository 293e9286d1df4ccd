"""What the renderer knows of a scene, and the heads that make a model in training know it too.

At every place of the subject a small head must tell which it is, its colour and how it lies there: from the
autoencoder's latents (as VA-VAE, Yao et al. 2025) and from the denoiser's features (as REPA, Yu et al. 2025),
with ground truth where they have a large encoder's features. Others must tell how all has moved by a frame, from the
caption and from the denoiser's features, where there is little but noise and only the words can say so, and which frame
and place of it a feature belongs to. The heads are not exported.

Shapes: N scenes, B batch, F frames, X = B * F, C features, K numbers told, S places on a side of a frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cavtool.mini import world
from cavtool.mini.sprites import COLOURLESS, COLOURS, SUBJECTS

_SUBJECTS, _COLOURS = list(SUBJECTS), list(COLOURS)
_MOVES = {
    "x": 0.15,
    "y": 0.15,
    "log_scale": 0.25,
    "roll": 15.0,
    "yaw": 40.0,
    "camera_x": 0.15,
    "camera_y": 0.1,
    "camera_zoom": 0.2,
}
_NUM_POSE = 7  # right and down to the subject's centre, log scale, cos and sin of roll and of yaw
_NUM_TURN = 4  # the last of them
_FRAME_WAVES, _PLACE_WAVES, _CODES_WEIGHT = 4, 2, 0.2
_LAST_TOKENS = 8  # captions are shorter: these are all padding
SUBJECT_WEIGHT = 4.0
NONE = -100  # cross_entropy's word for a place that does not count


@dataclass(frozen=True)
class Truth:
    """Of N scenes.

    `looks` (N, 2) are subject and colour as numbers; `discs` (N, F, 3) centre x, y and radius of the subject, in frame
    widths; `poses` (N, F, 5) log scale, cos and sin of roll and of yaw; `moves` (N, F, 8) how far each channel that
    pretraining moves is from its mean over the frames, in usual distances.
    """

    looks: Tensor
    discs: Tensor
    poses: Tensor
    moves: Tensor

    def __getitem__(self, picks_B: Tensor) -> "Truth":
        return Truth(self.looks[picks_B], self.discs[picks_B], self.poses[picks_B], self.moves[picks_B])


@cache
def truth_of(sample: Callable[[int], world.Scene], first: int, count: int, num_frames: int) -> Truth:
    """The truth of the scenes with these seeds."""
    looks = np.empty((count, 2), np.int64)
    discs = np.empty((count, num_frames, 3), np.float32)
    poses = np.empty((count, num_frames, 5), np.float32)
    moves = np.empty((count, num_frames, len(_MOVES)), np.float32)
    for i in range(count):
        scene = sample(first + i)
        channels = {name: values[:num_frames] for name, values in scene.channels.items()}
        radius = 0.5 * world.SIZE * np.exp(channels["log_scale"])
        roll, yaw = np.deg2rad(channels["roll"]), np.deg2rad(channels["yaw"])
        colour = NONE if scene.subject == COLOURLESS else _COLOURS.index(scene.colour)
        looks[i] = _SUBJECTS.index(scene.subject), colour
        discs[i] = np.stack([0.5 + channels["x"], 0.5 + channels["y"], radius], axis=-1)
        poses[i] = np.stack([channels["log_scale"], np.cos(roll), np.sin(roll), np.cos(yaw), np.sin(yaw)], axis=-1)
        courses = np.stack([channels[name] / usual for name, usual in _MOVES.items()], axis=-1)
        moves[i] = courses - courses.mean(axis=0)
    return Truth(torch.tensor(looks), torch.tensor(discs), torch.tensor(poses), torch.tensor(moves))


def on_subject(discs: Tensor, side: int) -> Tensor:
    """Which places of a frame the subject is on: discs (..., 3) to (..., S, S)."""
    right, down = _to_centre(discs, side)
    return right.square() + down.square() < (discs[..., 2, None, None] + 0.5 / side).square()


def subject_weight(discs: Tensor, side: int) -> Tensor:
    """How much each of side x side places of a frame counts: `SUBJECT_WEIGHT` on the subject's disc, else 1.

    Discs (..., 3) to weights (..., S, S).
    """
    return torch.where(on_subject(discs, side), SUBJECT_WEIGHT, 1.0)


def _to_centre(discs: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """From every place to the subject's centre, right and down, in frame widths: (..., S, S) each."""
    places = (torch.arange(side) + 0.5) / side
    right, down = discs[..., 0, None, None] - places, discs[..., 1, None, None] - places[:, None]
    return right.expand(*discs.shape[:-1], side, side), down.expand(*discs.shape[:-1], side, side)


class Reader(nn.Module):
    """The head for what is seen at a place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        num_told = len(_SUBJECTS) + len(_COLOURS) + _NUM_POSE
        self.head = nn.Sequential(nn.Conv2d(width, 128, 3, padding=1), nn.SiLU(), nn.Conv2d(128, num_told, 1))

    def loss(self, features_XCSS: Tensor, truth: Truth) -> Tensor:
        """How wrong it is: cross-entropies of subject and colour, and distance of the pose."""
        device, side = features_XCSS.device, features_XCSS.shape[-1]
        told_XKSS = self.head(features_XCSS).float()
        subject, colour, pose = told_XKSS.split([len(_SUBJECTS), len(_COLOURS), _NUM_POSE], dim=1)
        inside_XSS = on_subject(truth.discs, side).flatten(0, 1).to(device)
        looks_X2 = truth.looks.repeat_interleave(truth.discs.shape[1], dim=0).to(device)
        names_2XSS = [torch.where(inside_XSS, look_X.view(-1, 1, 1), NONE) for look_X in looks_X2.unbind(1)]
        there = torch.stack(_to_centre(truth.discs, side), dim=2)  # (B, F, 2, S, S)
        poses = truth.poses[..., None, None].expand(*truth.poses.shape, side, side)
        pose_XKSS = torch.cat([there / 0.3, poses], dim=2).flatten(0, 1).to(device)
        error_XSS = functional.smooth_l1_loss(pose, pose_XKSS, reduction="none").mean(1)
        return (
            functional.cross_entropy(subject, names_2XSS[0])
            + functional.cross_entropy(colour, names_2XSS[1])
            + 2 * (error_XSS * inside_XSS).sum() / inside_XSS.sum()
        )


class CourseReader(nn.Module):
    """The head for how all moves, and for which frame and which place of it this is.

    The denoiser has no numbers of either but what the zeros around a clip tell its convolutions.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.moves = nn.Sequential(nn.Conv2d(width, 128, 1), nn.SiLU(), nn.Conv2d(128, len(_MOVES), 1))
        self.codes = nn.Conv2d(width, _FRAME_WAVES + 2 * _PLACE_WAVES, 1)

    def loss(self, features_XCSS: Tensor, moves_BFK: Tensor) -> Tensor:
        """How wrong it is, at every place."""
        (num_frames, _), side = moves_BFK.shape[1:], features_XCSS.shape[-1]
        told_BFKSS = self.moves(features_XCSS).float().unflatten(0, (-1, num_frames))
        codes_BFWSS = self.codes(features_XCSS).float().unflatten(0, (-1, num_frames))
        moves_BFKSS = moves_BFK[..., None, None].to(told_BFKSS.device).expand_as(told_BFKSS)
        truth_FWSS = _codes(num_frames, side).to(codes_BFWSS.device)
        mistaken: Tensor = (codes_BFWSS - truth_FWSS).square().mean()
        return functional.smooth_l1_loss(told_BFKSS, moves_BFKSS) + _CODES_WEIGHT * mistaken


def _codes(num_frames: int, side: int) -> Tensor:
    """(F, W, S, S): slow cosines over the frames, down and right."""
    frame = _waves(_FRAME_WAVES, num_frames).T[..., None, None].expand(-1, -1, side, side)
    place = _waves(_PLACE_WAVES, side)
    down, right = place[:, :, None].expand(-1, -1, side), place[:, None].expand(-1, side, -1)
    return torch.cat([frame, torch.cat([down, right]).expand(num_frames, -1, -1, -1)], dim=1)


def _waves(count: int, length: int) -> Tensor:
    """(count, length): cosines of one half wave and more, of unit variance."""
    middles = (torch.arange(length) + 0.5) / length
    return 2**0.5 * torch.cos(torch.pi * torch.arange(1, count + 1)[:, None] * middles)


class CaptionReader(nn.Module):
    """The head for how all lies and moves in what a caption says."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.moves = nn.Linear(width, world.NUM_FRAMES * len(_MOVES))
        self.turn = nn.Linear(width, _NUM_TURN)

    def loss(self, text_BLD: Tensor, truth: Truth) -> Tensor:
        """How wrong it is, from the last tokens, which have seen the whole caption; of stills, how all lies."""
        said_BD = text_BLD[:, -_LAST_TOKENS:].float().mean(1)
        turn_BK = truth.poses[..., -_NUM_TURN:].mean(1).to(said_BD.device)
        misread = functional.smooth_l1_loss(self.turn(said_BD), turn_BK)
        if truth.moves.shape[1] == 1:
            return misread
        return misread + functional.smooth_l1_loss(self.moves(said_BD), truth.moves.flatten(1).to(said_BD.device))
