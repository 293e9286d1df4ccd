"""How steady a clip is from frame to frame, from 0 to 1. Frames are RGB (F, H, W, 3) uint8."""

import numpy as np
from numpy.typing import NDArray

from cavtool.core.metrics.flow import Flow, both_ways, fetched

Frames = NDArray[np.uint8]

_AGREES = 1.0  # pixels by which a pixel carried there and back may be off


def flicker(frames_FHWC: Frames) -> float:
    """(255 - MAE) / 255 over adjacent frames: temporal flickering of VBench (Huang et al. 2024). 1 is a still.

    Movement lowers it as flicker does: compare clips of the same motion.
    """
    return float(1 - np.abs(np.diff(frames_FHWC.astype(np.int16), axis=0)).mean() / 255)


def consistency(frames_FHWC: Frames) -> float:
    """1 - MAE / 255 of each frame with the next one, carried back along the optical flow.

    Movement alone does not lower it, changes of colour and detail do. Only pixels count whose flow there and back
    agrees, because others are covered or unreliable: the warping error of Lai et al. 2018 ("Learning Blind Video
    Temporal Consistency"), with absolute differences. It uses no network, so a change of subject that keeps its
    outline goes unnoticed.
    """
    errors = []
    for here, there, forth_HW2, back_HW2 in both_ways(frames_FHWC):
        seen_HW = _visible(forth_HW2, back_HW2)
        if seen_HW.any():
            change_HWC = fetched(there, forth_HW2) - here
            errors.append(np.abs(change_HWC[seen_HW]).mean())
    return 1 - float(np.mean(errors)) / 255 if errors else 0.0


def _visible(forth_HW2: Flow, back_HW2: Flow) -> NDArray[np.bool_]:
    returned_HW2 = forth_HW2 + fetched(back_HW2, forth_HW2)
    return np.asarray(np.linalg.norm(returned_HW2, axis=-1) < _AGREES)
