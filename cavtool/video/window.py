"""The busiest part of a video."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cavtool.errors import MediaError
from cavtool.video.decode import sample_frames
from cavtool.video.ffmpeg import run
from cavtool.video.probe import scan_frames

_SCAN_FPS, _SCAN_SIZE = 12.0, 48


@dataclass(frozen=True)
class Window:
    """A part of a video, in seconds; `motion` is the mean absolute change between its frames, from 0 to 1."""

    start: float
    duration: float
    motion: float


def busiest_window(path: Path, seconds: float, aspect: float = 1.0) -> Window:
    """The busiest part of a video, `seconds` long; the whole video if it is not longer.

    Only the part of a frame that `decode` keeps counts: its centre, `aspect` times as wide as high. Movement near the
    middle of the part counts up to twice, so that it does not touch the ends; a cut does not count as movement and
    halves the score of a part that contains it. Raises what `probe` raises.
    """
    scan = scan_frames(path)
    rate = min(_SCAN_FPS, scan.media.fps)
    num_frames = max(2, round(scan.media.duration * rate))
    job = (
        sample_frames(path, scan, seek=0, start=0, rate=rate, num_frames=num_frames)
        .filter("crop", f"min(iw,ih*{aspect}/sar)", f"min(ih,iw*sar/{aspect})")
        .filter("scale", _SCAN_SIZE, _SCAN_SIZE, flags="area")
        .output("pipe:", format="rawvideo", pix_fmt="rgb24", vframes=num_frames)
    )
    frames_FHWC = np.frombuffer(run(job, f"cannot decode `{path}`"), np.uint8).reshape(-1, _SCAN_SIZE, _SCAN_SIZE, 3)
    if len(frames_FHWC) < num_frames:
        raise MediaError(f"`{path}` is damaged: its frames cannot be decoded")
    change = np.array([np.abs(b.astype(np.int16) - a).mean() / 255 for a, b in pairwise(frames_FHWC)])
    length = round(seconds * rate)
    if scan.media.duration <= seconds or length >= len(change):
        return Window(0.0, min(seconds, scan.media.duration), float(change.mean()))
    begin = _busiest(change, max(length, 1))
    start = min(begin / rate, scan.media.duration - seconds)
    return Window(round(start, 3), seconds, float(change[begin : begin + length].mean()))


def _busiest(change: NDArray[np.float64], length: int) -> int:
    """Index at which the busiest run of `length` changes begins, scored as `busiest_window` says."""
    neighbours = np.maximum(np.append(change[1:], 0), np.append(0, change[:-1]))
    # A cut changes the whole picture once; movement continues in the frames before or after.
    cuts = (change > 0.1) & (change > 4 * neighbours)
    runs_of = np.lib.stride_tricks.sliding_window_view
    weights = 1 + np.hanning(length + 2)[1:-1]  # up to 2 in the middle
    motion = runs_of(np.where(cuts, neighbours, change), length) @ weights
    return int(np.argmax(motion * 0.5 ** runs_of(cuts, length).sum(axis=1)))
