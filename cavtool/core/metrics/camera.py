"""The movement of the camera in the tracks of a clip, and that of what moves by itself.

The background moves by a similarity in each step: shift, zoom, roll. Positions are in units of the frame's shorter
side, y down; see `core.metrics.tracks` for the tracks. Shapes: N tracks, F frames, S = F - 1 steps, P points.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from cavtool.core.metrics import channels

if TYPE_CHECKING:
    from cavtool.core.metrics.tracks import Motion

Tracks = NDArray[np.floating]
Steps = NDArray[np.float64]  # (S, 2, 3): for each step the matrix that moves a point (x, y, 1)

CURVES = ("x", "y", "log_scale", "roll")
_CELLS = 5  # along each side of the frame, to count how much of the border a movement explains
_RESTS = 0.012  # within which a track of a still background stays
_EXPLAINS = 0.006  # by which a point of the background may be off after a step
_STILL = np.eye(2, 3)
_AT_BORDER = {"x": 1.0, "y": 1.0, "log_scale": 0.5, "roll": np.pi / 360}  # how far one unit moves the border
_SLIGHT = 0.1  # of the largest movement


def find_camera(tracks_NF2: Tracks, size: tuple[float, float]) -> Steps:
    """How the background moves in each step of a clip whose frames have this `size` (width, height).

    Not at all if the tracks along the border are still in most places, else as RANSAC finds.
    The background is what reaches the border of the frame in most places; a subject rarely does, though it may have
    most of the tracks. Whether it is still is decided once for the whole clip, from whole tracks: in a single step a
    slow zoom is as small as the noise.
    """
    num_steps = tracks_NF2.shape[1] - 1
    if not len(tracks_NF2):
        return np.tile(_STILL, (num_steps, 1, 1))
    still_N = np.ptp(_filled(tracks_NF2), axis=1).max(axis=-1) < _RESTS
    middles_N2 = np.nanmean(tracks_NF2, axis=1)
    if 2 * _border_cells(middles_N2[still_N], size) >= _border_cells(middles_N2, size):
        return np.tile(_STILL, (num_steps, 1, 1))
    return np.stack([_background_step(*_alive(tracks_NF2, step), size) for step in range(num_steps)])


def carried(camera_S23: Steps, positions_NS2: Tracks) -> Tracks:
    """Where the background takes points from their positions at the start of each step."""
    return np.asarray(np.einsum("sij,nsj->nsi", camera_S23[..., :2], positions_NS2) + camera_S23[..., 2])


def camera_curve(motion: "Motion") -> dict[str, NDArray[np.float64]]:
    """The camera's x, y, log zoom (`log_scale`) and roll (degrees, clockwise) in each frame, from 0 at the first.

    The camera goes right when the background goes left, and rolls clockwise when it rolls the other way.
    """
    middle_S2 = np.tile(np.array(motion.size) / 2, (len(motion.camera), 1))
    shift_S2, scale_S, roll_S = _taken_apart(motion.camera, middle_S2)
    return _summed(-shift_S2, scale_S, -roll_S)


def object_curve(motion: "Motion") -> dict[str, NDArray[np.float64]]:
    """The x, y, log scale and roll (degrees, clockwise) of what moves by itself, relative to the background.

    All that moves is taken as one body: a similarity fitted in each step by RANSAC.
    """
    tracks_NF2 = motion.tracks[motion.moves_itself]
    taken_NS2 = carried(motion.camera, tracks_NF2[:, :-1])
    steps, centres = [], []
    for step in range(len(motion.camera)):
        there_N2 = tracks_NF2[:, step + 1]
        alive_N = ~np.isnan(taken_NS2[:, step, 0] + there_N2[:, 0])
        here_P2, there_P2 = taken_NS2[alive_N, step], there_N2[alive_N]
        steps.append(_similarity(here_P2, there_P2))
        centres.append(here_P2.mean(axis=0) if len(here_P2) else np.zeros(2))
    return _summed(*_taken_apart(np.stack(steps), np.stack(centres)))


def camera_fidelity(clip: "Motion", reference: "Motion") -> float | None:
    """The `channels.fidelity` of the camera's curves; None if the camera of the reference is at rest.

    Curves that move the border less than a tenth as far as the largest do not count: a pan seems to zoom a little.
    """
    ours, theirs = camera_curve(clip), camera_curve(reference)
    shifts = {name: _AT_BORDER[name] * channels.spread(name, curve) for name, curve in theirs.items()}
    large = {name: curve for name, curve in theirs.items() if shifts[name] > _SLIGHT * max(shifts.values())}
    return channels.fidelity(ours, large) if channels.active_channels(large) else None


def _background_step(here_P2: Tracks, there_P2: Tracks, size: tuple[float, float]) -> NDArray[np.float64]:
    """Of the two movements that explain most points, the one that explains more of the border."""
    candidates = list(_movements(here_P2, there_P2))
    off = [np.linalg.norm(_moved(step, here_P2) - there_P2, axis=1) for step in candidates]
    explained = [_border_cells(here_P2[each < _EXPLAINS], size) for each in off]
    return candidates[int(np.argmax(explained))]


def _movements(here_P2: Tracks, there_P2: Tracks) -> Iterator[NDArray[np.float64]]:
    first = _similarity(here_P2, there_P2)
    yield first
    rest_P = np.linalg.norm(_moved(first, here_P2) - there_P2, axis=1) >= _EXPLAINS
    yield _similarity(here_P2[rest_P], there_P2[rest_P])


def _similarity(here_P2: Tracks, there_P2: Tracks) -> NDArray[np.float64]:
    """The similarity (2, 3) that takes most points there; none if there are fewer than 3 points."""
    step = None
    if len(here_P2) >= 3:
        step, _ = cv2.estimateAffinePartial2D(
            here_P2, there_P2, method=cv2.RANSAC, ransacReprojThreshold=_EXPLAINS, maxIters=500
        )
    return _STILL if step is None else np.asarray(step, np.float64)


def _alive(tracks_NF2: Tracks, step: int) -> tuple[Tracks, Tracks]:
    """The points followed through a step, before and after it."""
    here_N2, there_N2 = tracks_NF2[:, step], tracks_NF2[:, step + 1]
    alive_N = ~np.isnan(here_N2[:, 0] + there_N2[:, 0])
    return here_N2[alive_N], there_N2[alive_N]


def _border_cells(points_P2: Tracks, size: tuple[float, float]) -> int:
    """In how many cells along the border of the frame there are points."""
    cells_P2 = (points_P2 / size * _CELLS).astype(int).clip(0, _CELLS - 1)
    border_P = ((cells_P2 == 0) | (cells_P2 == _CELLS - 1)).any(axis=1)
    return len(np.unique(cells_P2[border_P], axis=0))


def _filled(tracks_NF2: Tracks) -> Tracks:
    """The tracks with their mean where they are not followed."""
    return np.where(np.isnan(tracks_NF2), np.nanmean(tracks_NF2, axis=1, keepdims=True), tracks_NF2)


def _moved(step_23: NDArray[np.float64], points_P2: Tracks) -> Tracks:
    return np.asarray(points_P2 @ step_23[:, :2].T + step_23[:, 2])


def _taken_apart(
    steps_S23: Steps, centres_S2: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The shift of a centre, the log scale and the roll in degrees of each step."""
    turned_S2 = steps_S23[:, :, 0]  # where (1, 0) points
    shift_S2 = np.einsum("sij,sj->si", steps_S23[..., :2], centres_S2) + steps_S23[..., 2] - centres_S2
    scale_S = np.log(np.linalg.norm(turned_S2, axis=1).clip(1e-3))
    return shift_S2, scale_S, np.rad2deg(np.arctan2(turned_S2[:, 1], turned_S2[:, 0]))


def _summed(
    shift_S2: NDArray[np.float64], scale_S: NDArray[np.float64], roll_S: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    steps = (shift_S2[:, 0], shift_S2[:, 1], scale_S, roll_S)
    return {name: np.concatenate([[0.0], np.cumsum(each)]) for name, each in zip(CURVES, steps, strict=True)}
