"""cav-mini's toy world: a deterministic renderer of short clips in three dimensions, with exact ground truth."""

from cavtool.mini2.world.motions import (
    CAMERA_MOTIONS,
    HELD_OUT_MOTIONS,
    OBJECT_MOTIONS,
    REPORT_MOTIONS,
    TUNE_MOTIONS,
    Track,
    Tracks,
)
from cavtool.mini2.world.scenes import (
    CHANNELS,
    FPS,
    NUM_FRAMES,
    POSES,
    SIDE,
    SIZE,
    TIME,
    Frames,
    Scene,
    caption,
    reference,
    render,
    words,
)

__all__ = [
    "CAMERA_MOTIONS",
    "CHANNELS",
    "FPS",
    "HELD_OUT_MOTIONS",
    "NUM_FRAMES",
    "OBJECT_MOTIONS",
    "POSES",
    "REPORT_MOTIONS",
    "SIDE",
    "SIZE",
    "TIME",
    "TUNE_MOTIONS",
    "Frames",
    "Scene",
    "Track",
    "Tracks",
    "caption",
    "reference",
    "render",
    "words",
]
