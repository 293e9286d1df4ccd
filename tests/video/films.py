"""Films whose frames show their number, and the formats in which the real ffmpeg writes them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from cavtool.video import Frames

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
LOSSY = 14  # the largest error of a flat colour after lossy compression, of 255
CORNERS = np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]], np.uint8)
Make = Callable[..., Path]


def clock(num_frames: int, height: int = 64, width: int = 96, tick: int = 12) -> Frames:
    """Frames whose grey level shows their number, with a coloured block in each corner."""
    grey = (20 + tick * np.arange(num_frames)).astype(np.uint8)
    frames = np.broadcast_to(grey[:, None, None, None], (num_frames, height, width, 3)).copy()
    for y, x in np.ndindex(2, 2):
        frames[:, y * (height - 16) : y * (height - 16) + 16, x * (width - 16) : x * (width - 16) + 16] = CORNERS[y, x]
    return frames


def read_clock(frames: Frames, tick: int = 12) -> list[int]:
    _, height, width, _ = frames.shape
    middle = frames[:, height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4].mean(axis=(1, 2, 3))
    return [round(float(number)) for number in (middle - 20) / tick]


def corners(frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    height, width, _ = frame.shape
    return frame[np.ix_([4, height - 5], [4, width - 5])].astype(np.int64)


def shown_at(times: Sequence[float], start: float, step: float, num_frames: int) -> list[int]:
    return [int(np.searchsorted(times, start + step * k + 1e-6, side="right")) - 1 for k in range(num_frames)]


H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "10")
FORMATS = {
    "h264.mp4": ("h264", H264),
    "h264.ts": ("h264", H264),
    "h264.mkv": ("h264", H264),
    "h264.avi": ("h264", (*H264, "-bf", "0")),
    "bare.h264": ("h264", (*H264, "-bf", "0")),
    "hevc.mp4": ("hevc", ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none")),
    "vp9.webm": ("vp9", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")),
    "av1.mp4": ("av1", ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime")),
    "anim.gif": ("gif", ()),
    "anim.webp": ("webp_anim", ("-c:v", "libwebp_anim", "-loop", "0")),
    "prores.mov": ("prores", ("-c:v", "prores_ks", "-profile:v", "3")),
}
