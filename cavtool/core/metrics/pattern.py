"""Where and when a clip moves, on a coarse grid: a comparison of motions that holds for soft and flickering clips.

Tracks (`core.metrics.tracks`) break off where a subject changes its shape from frame to frame, as in videos of small
models or of few sampling steps; what is left of them says little (`tests/benchmarks/results/pattern.md`). Colours and
flow averaged over large cells say where the movement is and which way it goes, but only movements at the same place in
the frame are alike.
Shapes: F frames, S = F - 1 steps, H W C of pixels, Y X cells.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from cavtool.core.metrics.flow import flow, resized
from cavtool.errors import InvalidInput

Frames = NDArray[np.uint8]
Grid = NDArray[np.float32]

_CELLS = 8  # along each side of the frame
_BLUR = 1.0  # standard deviation, in cells
_SIDE = 64  # pixels at which colours are compared
_STILL = 3.0  # largest change of a cell, of 100 for black to white, that compression makes of a still picture


@dataclass(frozen=True)
class Pattern:
    """How far the colours in each cell are from their median over time, less the mean over time; and the flow."""

    changes: Grid  # (F, Y, X)
    flow: Grid  # (S, Y, X, 2)

    @property
    def moves(self) -> bool:
        """Whether there is movement, or another change that is no compression noise."""
        return bool(np.abs(self.changes).max() > _STILL)


def read_pattern(frames_FHWC: Frames) -> Pattern:
    """The pattern of a clip of RGB frames (uint8)."""
    lab_FHWC = np.stack([_soft_lab(frame) for frame in frames_FHWC])
    distances_FHW = np.linalg.norm(lab_FHWC - np.median(lab_FHWC, axis=0), axis=-1)
    changes_FYX = np.stack([_in_cells(distances_HW) for distances_HW in distances_FHW])
    pictures = [resized(frame) for frame in frames_FHWC]
    flow_SYX2 = np.stack([_in_cells(flow(here, there)) for here, there in pairwise(pictures)])
    return Pattern(changes_FYX - changes_FYX.mean(axis=0), flow_SYX2)


def pattern_fidelity(clip: Pattern, reference: Pattern) -> float:
    """How well a clip's pattern agrees with a reference's, from 0 to 1; about 0 for other motions.

    The larger of two cosines: of the changes, which show a subject that moves before a background at rest however far
    it jumps, and of the flow, which shows slow movements and those of the camera. Raises InvalidInput if the numbers of
    frames differ.
    """
    if len(clip.changes) != len(reference.changes):
        numbers = f"{len(clip.changes)} and {len(reference.changes)}"
        raise InvalidInput(f"the clips have different numbers of frames, {numbers}", hint="decode both at one rate")
    return max(0.0, _cosine(clip.changes, reference.changes), _cosine(clip.flow, reference.flow))


def _soft_lab(frame_HWC: Frames) -> Grid:
    small_HWC = cv2.resize(frame_HWC, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    lab_HWC = cv2.cvtColor(small_HWC, cv2.COLOR_RGB2LAB).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(lab_HWC, (0, 0), 1), np.float32)


def _in_cells(values_HW: Grid) -> Grid:
    cells_YX = cv2.resize(values_HW, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(cells_YX, (0, 0), _BLUR), np.float32)


def _cosine(ours: Grid, theirs: Grid) -> float:
    lengths = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return float((ours * theirs).sum()) / lengths if lengths > 0 else 0.0
