"""What the renderer knows of a scene, and the heads that make a model in training know it too.

At every place of the subject a small head must tell which it is, its colour and how it lies there: from the
autoencoder's latents (as VA-VAE, Yao et al. 2025) and from the denoiser's features (as REPA, Yu et al. 2025),
with ground truth where they have a large encoder's features. Another must tell from a frame's features how all has
moved by then: where there is little but noise only the words can say so, and which frame it is, for which the denoiser
has no number. The heads are not exported.

Shapes: N scenes, B batch, F frames, X = B * F, C features, K numbers told, S places on a side of a frame.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cavtool.mini import world
from cavtool.mini.sprites import COLOURLESS, COLOURS, SUBJECTS

_SUBJECTS, _COLOURS = list(SUBJECTS), list(COLOURS)
_MOVES = {"x": 0.15, "y": 0.15, "log_scale": 0.25, "roll": 15.0, "camera_x": 0.15, "camera_y": 0.1, "camera_zoom": 0.2}
_NUM_POSE = 7  # right and down to the subject's centre, log scale, cos and sin of roll and of yaw
NONE = -100  # cross_entropy's word for a place that does not count


@dataclass(frozen=True)
class Truth:
    """Of N scenes.

    `looks` (N, 2) are subject and colour as numbers; `discs` (N, F, 3) centre x, y and radius of the subject, in frame
    widths; `poses` (N, F, 5) log scale, cos and sin of roll and of yaw; `moves` (N, F, 7) how far each channel that
    pretraining moves is from its mean over the frames, in usual distances.
    """

    looks: Tensor
    discs: Tensor
    poses: Tensor
    moves: Tensor

    def __getitem__(self, picks_B: Tensor) -> "Truth":
        return Truth(self.looks[picks_B], self.discs[picks_B], self.poses[picks_B], self.moves[picks_B])


def truth_of(sample: Callable[[int], world.Scene], first: int, count: int, num_frames: int) -> Truth:
    """The truth of the scenes with these seeds."""
    looks = np.empty((count, 2), np.int64)
    discs = np.empty((count, num_frames, 3), np.float32)
    poses = np.empty((count, num_frames, 5), np.float32)
    moves = np.empty((count, num_frames, len(_MOVES)), np.float32)
    for i in range(count):
        scene = sample(first + i)
        channels = {name: values[:num_frames] for name, values in scene.channels().items()}
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


class MoveReader(nn.Module):
    """The head for how all moves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, 128), nn.SiLU(), nn.Linear(128, len(_MOVES)))

    def loss(self, features_XCSS: Tensor, truth: Truth) -> Tensor:
        """How wrong it is, from the mean of each frame's features."""
        told_XK = self.head(features_XCSS.mean((2, 3))).float()
        return functional.smooth_l1_loss(told_XK, truth.moves.flatten(0, 1).to(told_XK.device))
