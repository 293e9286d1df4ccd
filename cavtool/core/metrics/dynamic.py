"""How much a clip moves."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cavtool.core.metrics.flow import SIDE, flow, resized

Frames = NDArray[np.uint8]

_LIMIT = 6 / 256  # of the shorter side


@dataclass(frozen=True)
class Dynamic:
    """Whether a clip is dynamic, and the mean flow of its fastest 5 % of pixels, in shorter sides per frame."""

    is_dynamic: bool
    flow: float


def dynamic_degree(frames_FHWC: Frames) -> Dynamic:
    """The dynamic degree of VBench (Huang et al. 2024) for RGB frames (F, H, W, 3) uint8, thinned to 8 per second.

    A clip is dynamic if the mean flow of the fastest 5 % of pixels is above 6 pixels for a shorter side of 256, in at
    least round(4 F / 16) pairs of adjacent frames. VBench computes the flow with RAFT, here it is dense inverse search.
    """
    pictures = [resized(frame) for frame in frames_FHWC]
    fastest = np.array([_fastest(here, there) for here, there in pairwise(pictures)]) / SIDE
    needed = max(1, round(4 * len(frames_FHWC) / 16))
    return Dynamic(bool((fastest > _LIMIT).sum() >= needed), float(fastest.mean()))


def _fastest(here_HWC: Frames, there_HWC: Frames) -> float:
    speeds = np.sort(np.linalg.norm(flow(here_HWC, there_HWC), axis=-1), axis=None)
    return float(speeds[-max(1, len(speeds) // 20) :].mean())
