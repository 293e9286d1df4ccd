"""How steady a clip is from frame to frame, from 0 to 1. Frames are RGB (F, H, W, 3) uint8."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cavtool.core.metrics.flow import Pair, fetched

Frames = NDArray[np.uint8]

_AGREES = 1.0  # pixels by which a pixel carried there and back may be off


def flicker(frames_FHWC: Frames) -> float:
    """(255 - MAE) / 255 over adjacent frames: temporal flickering of VBench (Huang et al. 2024). 1 is a still.

    Movement lowers it as flicker does: compare clips of the same motion.
    """
    return float(1 - np.abs(np.diff(frames_FHWC.astype(np.int16), axis=0)).mean() / 255)


def consistency(pairs: Sequence[Pair]) -> float:
    """1 - MAE / 255 of each frame with the next one, carried back along the optical flow (`flow.find_flows`).

    Movement alone does not lower it, changes of colour and detail do. Only pixels count whose flow there and back
    agrees, because others are covered or unreliable: the warping error of Lai et al. 2018 ("Learning Blind Video
    Temporal Consistency"), with absolute differences. It uses no network, so a change of subject that keeps its
    outline goes unnoticed.
    """
    errors = [np.abs(_change(pair)) for pair in pairs]
    seen = [error for error in errors if error.size]
    return 1 - float(np.mean([error.mean() for error in seen])) / 255 if seen else 0.0


def _change(pair: Pair) -> NDArray[np.float32]:
    """The change of every pixel that is seen in both frames."""
    returned_HW2 = pair.forth + fetched(pair.back, pair.forth)
    seen_HW = np.linalg.norm(returned_HW2, axis=-1) < _AGREES
    return np.asarray((fetched(pair.there, pair.forth) - pair.here)[seen_HW])
