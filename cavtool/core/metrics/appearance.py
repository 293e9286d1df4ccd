"""How alike two clips look, whatever moves in them: colours and layout, without a network.

Frames are RGB (F, H, W, 3) uint8. Shapes: F frames, G frames of another clip, D features.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Features = NDArray[np.float64]

_SIDE = 64  # pixels at which colours are counted
_BINS = 8  # of each colour, in Lab
_GRID = 8  # cells along each side in which the layout is seen


def leakage(frames_FHWC: Frames, reference_FHWC: Frames) -> float:
    """The likeness of each frame to the most similar frame of the reference, from 0 to 1, averaged.

    1 if the clip shows frames of the reference, in any order. Clips of different subjects and places have some
    likeness, too: compare with other clips.
    """
    return float(_likeness(frames_FHWC, reference_FHWC).max(axis=1).mean())


def diversity(clips: Sequence[Frames]) -> list[float]:
    """For each clip, 1 - the likeness of its first frame to that of each other clip, averaged; 0 for copies.

    Measured on the first frame, because it shows layout and appearance before anything has moved. Papers use LPIPS,
    whose weights would have to be downloaded.
    """
    firsts_FHWC = [clip[:1] for clip in clips]
    alike = np.array([[_likeness(one, other).item() for other in firsts_FHWC] for one in firsts_FHWC])
    others = ~np.eye(len(clips), dtype=bool)
    return [float(1 - row[other].mean()) for row, other in zip(alike, others, strict=True)]


def _likeness(frames_FHWC: Frames, others_GHWC: Frames) -> Features:
    """The mean of two cosines (F, G): of smoothed colour counts (Bhattacharyya 1943), and of coarse pictures."""
    ours, theirs = ([_features(frame) for frame in frames] for frames in (frames_FHWC, others_GHWC))
    colours = np.stack([each for each, _ in ours]) @ np.stack([each for each, _ in theirs]).T
    layouts = np.stack([each for _, each in ours]) @ np.stack([each for _, each in theirs]).T
    return np.asarray((colours.clip(0, 1) + layouts.clip(0, 1)) / 2)


def _features(frame_HWC: Frames) -> tuple[Features, Features]:
    """The square root of the shares of colours, and a centred coarse picture; both of length 1."""
    small_HWC = cv2.resize(frame_HWC, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    lab_HWC = cv2.cvtColor(small_HWC, cv2.COLOR_RGB2LAB)
    counts, _ = np.histogramdd(lab_HWC.reshape(-1, 3), bins=_BINS, range=[(0, 256)] * 3)
    layout_HWC = cv2.resize(lab_HWC.astype(np.float32), (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    centred = (layout_HWC - layout_HWC.mean(axis=(0, 1))).astype(float).ravel()
    shares = _smoothed(counts)
    return np.sqrt(shares / shares.sum()).ravel(), centred / max(float(np.linalg.norm(centred)), 1e-9)


def _smoothed(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts spread to neighbouring bins, so that a slightly different colour is not a wholly different one."""
    bins = np.arange(_BINS)
    for axis in range(3):
        below, above = (counts.take((bins + shift).clip(0, _BINS - 1), axis) for shift in (-1, 1))
        counts = counts / 2 + below / 4 + above / 4
    return counts
