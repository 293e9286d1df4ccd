"""Motion fidelity: how closely the movement in one clip follows that in another, whatever the two clips show.

After Yatim et al. 2023, "Space-Time Diffusion Features for Zero-Shot Text-Driven Motion Transfer" (arXiv 2311.17009):
points are tracked through both clips, each track looks for the track in the other clip that moves most like it, and
the fidelity is the mean of these best correlations, in both directions. What differs from the paper, and why, is in
the docstring of `fidelity`.

Shapes: N tracks, S = F - 1 steps between frames, P points, K candidates; 2 for x and y. Positions are in units of the
frame's shorter side, y down, so that neither resolution nor aspect matters.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cavtool.core.metrics.camera import Steps, Tracks, carried, find_camera
from cavtool.core.metrics.flow import SIDE, resized
from cavtool.errors import InvalidInput

Frames = NDArray[np.uint8]

STATIC = 0.02  # of the shorter side: a track that stays within it is static
_CELLS = 16  # along the shorter side: the best point of each cell is tracked
_STRUCTURE = 3e-4  # least eigenvalue of the gradients around a point (Shi and Tomasi 1994), for colours from 0 to 1
_SPACING = 5  # frames between those in which tracks begin
_SHORTEST = 6  # frames of a track
_AGREES = 1.0  # pixels by which a point tracked there and back may be off
_LUCAS_KANADE: dict[str, Any] = {"winSize": (11, 11), "maxLevel": 4, "criteria": (3, 20, 0.01)}


@dataclass(frozen=True)
class Motion:
    """The tracks of a clip (N, F, 2), how its background moves in each step (S, 2, 3), and the frame's size."""

    tracks: Tracks
    camera: Steps
    size: tuple[float, float]

    @property
    def relative(self) -> Tracks:
        """The steps (N, S, 2) of each track less those of the background; NaN where a point is not followed."""
        return np.asarray(self.tracks[:, 1:] - carried(self.camera, self.tracks[:, :-1]))

    @property
    def moves(self) -> NDArray[np.bool_]:
        """Whether each track moves, in the picture or relative to the background."""
        return (_extent(np.diff(self.tracks, axis=1)) > STATIC) | self.moves_itself

    @property
    def moves_itself(self) -> NDArray[np.bool_]:
        """Whether each track moves relative to the background."""
        return _extent(self.relative) > STATIC


def motion_fidelity(frames_FHWC: Frames, reference_FHWC: Frames) -> float:
    """The `fidelity` of the motion in a clip to that in a reference; both have the same number of RGB frames (uint8).

    Deterministic. Sizes may differ. Raises InvalidInput if the numbers of frames differ or the reference is static.
    """
    return fidelity(read_motion(frames_FHWC), read_motion(reference_FHWC))


def read_motion(frames_FHWC: Frames) -> Motion:
    """Track the points of a clip and tell the background's movement from theirs; no tracks if the frames are flat."""
    tracks_NF2 = track(frames_FHWC)
    _, height, width, _ = frames_FHWC.shape
    size = width / min(width, height), height / min(width, height)
    return Motion(tracks_NF2, find_camera(tracks_NF2, size), size)


def track(frames_FHWC: Frames) -> Tracks:
    """Follow points through a clip of RGB frames (uint8): positions (N, F, 2), NaN where a point is not followed.

    Lucas-Kanade on colour pyramids. A track begins at a point with structure and is followed forwards and backwards for
    as long as tracking a step back returns to where it came from (Kalal et al. 2010). Tracks begin in several frames,
    because subjects turn and cover one another; those followed for fewer than 6 frames are dropped.
    """
    pictures = [resized(frame) for frame in frames_FHWC]
    num_frames = len(pictures)
    begins = np.unique(np.linspace(0, num_frames - 1, max(2, round(num_frames / _SPACING) + 1)).round().astype(int))
    points = [_points(pictures[begin]) for begin in begins]
    begin_N = np.repeat(begins, [len(each) for each in points])
    tracks_NF2 = np.full((len(begin_N), num_frames, 2), np.nan, np.float32)
    tracks_NF2[np.arange(len(begin_N)), begin_N] = np.concatenate(points)
    for frame in range(num_frames - 1):
        _follow(pictures, tracks_NF2, begin_N <= frame, frame, frame + 1)
    for frame in range(num_frames - 1, 0, -1):
        _follow(pictures, tracks_NF2, begin_N >= frame, frame, frame - 1)
    num_followed_N = (~np.isnan(tracks_NF2[..., 0])).sum(axis=1)
    return np.asarray(tracks_NF2[num_followed_N >= min(_SHORTEST, num_frames)] / SIDE, np.float64)


def fidelity(clip: Motion, reference: Motion) -> float:
    """The likeness of the movement in a clip to that in a reference, from 0 to 1.

    Each track is described by its step in every frame, in the picture and relative to the background. A track looks
    for its best match in the other clip: the correlation of two tracks is the cosine of their steps over the whole time
    of the first. The fidelity is the mean over both directions of the mean over tracks.

    Differences from Yatim et al., with their reasons (`tests/benchmarks/results/fidelity.md` measures each):

    - Static tracks (within 2 % of the shorter side) are left out and match nothing. They would divide 0 by 0, and the
      still ground of one clip would match that of any other. A track weighs as much as its path is long, so that a
      threshold decides little. A clip in which nothing moves has fidelity 0.
    - The cosine is taken over the whole track, not in each step: slow steps, whose direction is noise, count little.
      Speed may differ as a whole, not its course.
    - Steps relative to the background tell a moving camera from a moving subject: both look the same otherwise.
    - A match on the opposite side of what moves counts less: otherwise zooming in is the same as zooming out, as both
      have points that go left. Where the motion is in the frame does not count.

    Raises InvalidInput if the numbers of frames differ or nothing moves in the reference.
    """
    return _fidelity(_describe(clip), _describe(reference))


def object_fidelity(clip: Motion, reference: Motion) -> float | None:
    """The same for movement relative to the background alone; None if nothing in the reference moves that way."""
    if not reference.moves_itself.any():
        return None
    return _fidelity(_describe(clip, objects_only=True), _describe(reference, objects_only=True))


@dataclass(frozen=True)
class _Described:
    """Tracks that move: C numbers a step, 0 where `alive` is not; and their place relative to what moves."""

    steps: NDArray[np.float64]  # (N, S, C)
    alive: NDArray[np.float64]  # (N, S)
    places: NDArray[np.float64]  # (N, S, 2)


def _describe(motion: Motion, *, objects_only: bool = False) -> _Described:
    relative_NS2, tracks_NF2 = motion.relative, motion.tracks
    parts = [relative_NS2] if objects_only else [np.diff(tracks_NF2, axis=1), relative_NS2]
    steps_NSC = np.concatenate(parts, axis=-1)
    alive_NS = (~np.isnan(steps_NSC[..., 0])).astype(float)
    steps_NSC = np.nan_to_num(steps_NSC)
    middles_NS2 = np.nan_to_num((tracks_NF2[:, 1:] + tracks_NF2[:, :-1]) / 2)
    weights_NS = np.linalg.norm(steps_NSC, axis=-1) + 1e-9 * alive_NS
    centres_S2 = np.einsum("nsi,ns->si", middles_NS2, weights_NS) / weights_NS.sum(axis=0).clip(1e-12)[:, None]
    places_NS2 = (middles_NS2 - centres_S2) * alive_NS[..., None]
    moves_N = motion.moves_itself if objects_only else motion.moves
    return _Described(steps_NSC[moves_N], alive_NS[moves_N], places_NS2[moves_N])


def _fidelity(clip: _Described, reference: _Described) -> float:
    if clip.steps.shape[1] != reference.steps.shape[1]:
        numbers = f"{clip.steps.shape[1] + 1} and {reference.steps.shape[1] + 1}"
        raise InvalidInput(f"the clips have different numbers of frames, {numbers}", hint="decode both at one rate")
    if not len(reference.steps):
        raise InvalidInput("the reference does not move, so nothing can move like it")
    return (_found(clip, reference) + _found(reference, clip)) / 2


def _found(of: _Described, among: _Described) -> float:
    """The mean of the best correlation of each track with those of another clip, weighted by the length of its path."""
    if not len(of.steps) or not len(among.steps):
        return 0.0
    # A candidate that is not followed all the time is 0 there, which lowers the cosine.
    length_N = np.linalg.norm(of.steps, axis=(1, 2))
    alike_NK = _products(of.steps, among.steps) / (length_N[:, None] * _lengths(among.steps, of.alive).T)
    place_NK = _products(of.places, among.places) / (
        _lengths(of.places, among.alive) * _lengths(among.places, of.alive).T
    )
    best_N = (alike_NK * (1 + place_NK).clip(0, 1)).max(axis=1).clip(0, 1)
    return float(np.average(best_N, weights=length_N))


def _products(a_NSC: NDArray[np.float64], b_KSC: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(a_NSC.reshape(len(a_NSC), -1) @ b_KSC.reshape(len(b_KSC), -1).T)


def _lengths(a_NSC: NDArray[np.float64], alive_KS: NDArray[np.float64]) -> NDArray[np.float64]:
    """The norm (N, K) of each track of one clip over the steps in which a track of the other is alive."""
    return np.asarray(np.sqrt((a_NSC**2).sum(axis=-1) @ alive_KS.T).clip(1e-9))


def _extent(steps_NS2: Tracks) -> NDArray[np.float64]:
    """The diagonal of the box that each track fills."""
    path_NS2 = np.cumsum(np.nan_to_num(steps_NS2), axis=1)
    return np.asarray(np.linalg.norm(np.ptp(path_NS2, axis=1), axis=-1))


def _points(picture_HWC: Frames) -> NDArray[np.float32]:
    """The point with most structure in each cell (P, 2), in pixels."""
    structure_HW = np.max([cv2.cornerMinEigenVal(picture_HWC[..., colour], 5) for colour in range(3)], axis=0)
    height, width = structure_HW.shape
    cell = SIDE // _CELLS
    found = []
    for top in range(0, height, cell):
        for left in range(0, width, cell):
            part = structure_HW[top : top + cell, left : left + cell]
            y, x = np.unravel_index(part.argmax(), part.shape)
            if part[y, x] > _STRUCTURE:
                found.append((left + x, top + y))
    return np.array(found, np.float32).reshape(-1, 2)


def _follow(pictures: list[Frames], tracks_NF2: Tracks, begun_N: NDArray[np.bool_], frame: int, to: int) -> None:
    """Extend the tracks that are alive in a frame to the next one, in place."""
    alive = np.flatnonzero(begun_N & ~np.isnan(tracks_NF2[:, frame, 0]))
    if not len(alive):
        return
    here_P2, there_P2 = tracks_NF2[alive, frame], np.empty((len(alive), 2), np.float32)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(pictures[frame], pictures[to], here_P2, there_P2, **_LUCAS_KANADE)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(pictures[to], pictures[frame], moved, here_P2.copy(), **_LUCAS_KANADE)
    size = pictures[to].shape[1::-1]
    inside = ((moved >= 0) & (moved < size)).all(axis=1)
    agrees = np.linalg.norm(back - here_P2, axis=1) < _AGREES
    kept = (found[:, 0] > 0) & (returned[:, 0] > 0) & inside & agrees
    tracks_NF2[alive[kept], to] = moved[kept]
