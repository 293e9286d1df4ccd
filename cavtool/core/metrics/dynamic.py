"""How much a clip moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cavtool.core.metrics.flow import SIDE, Flow, Pair

_LIMIT = 6 / 256  # of the shorter side, in an eighth of a second


@dataclass(frozen=True)
class Dynamic:
    """Whether a clip is dynamic, and the mean flow of its fastest 5 % of pixels, in shorter sides per 1/8 s."""

    is_dynamic: bool
    flow: float


def dynamic_degree(pairs: Sequence[Pair], fps: float = 8.0) -> Dynamic:
    """The dynamic degree of VBench (Huang et al. 2024) for the flows of a clip (`flow.find_flows`).

    A clip of F frames is dynamic if the mean flow of the fastest 5 % of pixels is above 6 pixels for a shorter side of
    256, in at least round(4 F / 16) pairs of adjacent frames. VBench's clips have 8 frames/s: flows at another
    rate are scaled to that. VBench computes the flow with RAFT, here it is dense inverse search.
    """
    fastest = np.array([_fastest(pair.forth) for pair in pairs]) / SIDE * fps / 8
    needed = max(1, round(4 * (len(pairs) + 1) / 16))
    return Dynamic(bool((fastest > _LIMIT).sum() >= needed), float(fastest.mean()))


def _fastest(flow_HW2: Flow) -> float:
    speeds = np.sort(np.linalg.norm(flow_HW2, axis=-1), axis=None)
    return float(speeds[-max(1, len(speeds) // 20) :].mean())
