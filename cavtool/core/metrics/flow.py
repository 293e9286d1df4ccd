"""Optical flow between the frames of a clip, at one size whatever the clip's: the shorter side has 128 pixels.

Shapes: F frames, H height, W width, C colour; 2 for x and y, in pixels of that size.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 128  # pixels of the shorter side

Frames = NDArray[np.uint8]
Flow = NDArray[np.float32]


def resized(frame_HWC: Frames) -> Frames:
    """The frame with a shorter side of 128 pixels."""
    height, width, _ = frame_HWC.shape
    scale = SIDE / min(height, width)
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(frame_HWC, (round(width * scale), round(height * scale)), interpolation=how), np.uint8)


def flow(here_HWC: Frames, there_HWC: Frames) -> Flow:
    """Where each pixel of one resized frame goes in another (H, W, 2): dense inverse search (Kroeger et al. 2016)."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (here_HWC, there_HWC)]
    return np.asarray(search.calc(grey[0], grey[1], None), np.float32)  # type: ignore[call-overload]


def fetched(values: Frames | Flow, flow_HW2: Flow) -> NDArray[np.float32]:
    """For each pixel, what is at the place to which the flow takes it: frames, or another flow."""
    height, width, _ = flow_HW2.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = x + flow_HW2[..., 0], y + flow_HW2[..., 1]
    return np.asarray(cv2.remap(values.astype(np.float32), *places, cv2.INTER_LINEAR))


@dataclass(frozen=True)
class Pair:
    """Two adjacent frames (H, W, 3), resized, with the flow to the second and the flow back (H, W, 2)."""

    here: Frames
    there: Frames
    forth: Flow
    back: Flow


def find_flows(frames_FHWC: Frames) -> list[Pair]:
    """The flow between adjacent frames of a clip."""
    pictures = [resized(frame) for frame in frames_FHWC]
    return [Pair(here, there, flow(here, there), flow(there, here)) for here, there in pairwise(pictures)]
