"""The busiest part of a video."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cavtool.errors import MediaError
from cavtool.events import OnEvent, Stage, Step
from cavtool.video.decode import MOTION, Frames, sample_frames
from cavtool.video.ffmpeg import run
from cavtool.video.probe import Scan, scan_frames

_SCAN_FPS, _SCAN_SIZE = 12.0, 48
_LONG = 180.0  # seconds; of a longer video, only the most promising parts are decoded
_NUM_PARTS = 16  # of a long video
_STAGE = "looking for the busiest part"
_CUT, _REACH, _NOISE = 0.1, 0.33, 0.03  # a cut's mean change, the share of the pixels that change, what is no change
_BLANK = 0.02  # contrast (standard deviation, from 0 to 1) of a black or white frame that shows nothing

Track = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A part of a video, in seconds.

    `motion` is the mean absolute change between its frames, from 0 to 1, changes of brightness left out; `num_cuts`
    counts the cuts, flashes and blank frames inside.
    """

    start: float
    duration: float
    motion: float
    num_cuts: int = 0


def busiest_window(path: Path, seconds: float, aspect: float = 1.0, on_event: OnEvent = lambda _: None) -> Window:
    """The busiest part of a video, `seconds` long; the whole video if it is not longer.

    Only the part of a frame that `decode` keeps counts: its centre, `aspect` times as wide as high. Movement near the
    middle of the part counts up to twice, so that it does not touch the ends. A part without cuts, flashes and blank
    frames is preferred to any part with one; fades and other changes of brightness do not count as movement. With a
    long video, `on_event` receives the progress. Raises what `probe` raises, and MediaError for a longer video of which
    no part has the four frames that a motion needs.
    """
    scan = scan_frames(path)
    duration, rate = scan.media.duration, min(_SCAN_FPS, max(scan.media.fps, MOTION / seconds))
    whole = duration <= seconds or round(seconds * rate) >= round(duration * rate) - 1
    if duration > seconds:
        _check_rate(path, scan, seconds)
    parts = [(0.0, duration)] if duration <= _LONG or whole else list(_promising_parts(scan, seconds))
    found = []
    for start, length in _with_progress(parts, on_event):
        frames_FHWC = _read(path, scan, start, length, rate, aspect)
        motion, cuts = _movement(frames_FHWC)
        if whole:
            return Window(0.0, min(seconds, duration), float(motion.mean()), int(cuts.sum()))
        begin, score = _busiest(motion, cuts, max(round(seconds * rate), 1))
        inside = slice(begin, begin + max(round(seconds * rate), 1))
        at = round(min(start + begin / rate, duration - seconds), 3)
        found.append((score, Window(at, seconds, float(motion[inside].mean()), int(cuts[inside].sum()))))
    return max(found, key=lambda pair: (-pair[1].num_cuts, pair[0]))[1]


def _check_rate(path: Path, scan: Scan, seconds: float) -> None:
    """Raise MediaError if every part of this length shows fewer frames than a motion needs."""
    most = np.searchsorted(scan.times, scan.times + seconds) - np.arange(len(scan.times))
    if most.max() < MOTION:
        raise MediaError(
            f"`{path}` shows a new frame only every {1 / scan.media.fps:.3g} s: {seconds:g} s of it hold no motion",
            hint=f"choose a longer part, of at least {MOTION / scan.media.fps:.3g} s",
        )


def _with_progress(parts: list[tuple[float, float]], on_event: OnEvent) -> Iterator[tuple[float, float]]:
    """The parts, reported as the steps of a stage if there are several."""
    if len(parts) == 1:
        yield parts[0]
        return
    began = time.monotonic()
    on_event(Stage(_STAGE, 1, 1))
    for number, part in enumerate(parts, 1):
        yield part
        on_event(Step(_STAGE, number, len(parts), None, time.monotonic() - began))


def _read(path: Path, scan: Scan, start: float, length: float, rate: float, aspect: float) -> Frames:
    """Small frames (F, 48, 48, 3) of a part of a video."""
    num_frames = max(2, round(length * rate))
    before = scan.keyframes[scan.keyframes <= start][:-1]
    for seek in [*before[-1:].tolist(), 0.0]:  # some files cannot be entered but at their beginning
        job = (
            sample_frames(path, scan, seek=seek, start=start, rate=rate, num_frames=num_frames, quick=True)
            .filter("scale")  # a change of size in the file must not reach the crop
            .filter("crop", f"min(iw,ih*{aspect}/sar)", f"min(ih,iw*sar/{aspect})")
            .filter("scale", _SCAN_SIZE, _SCAN_SIZE, flags="area")
            .output("pipe:", format="rawvideo", pix_fmt="rgb24", vframes=num_frames)
        )
        pixels = np.frombuffer(run(job, f"cannot decode `{path}`"), np.uint8)
        if pixels.size == num_frames * _SCAN_SIZE**2 * 3:
            return pixels.reshape(-1, _SCAN_SIZE, _SCAN_SIZE, 3)
    raise MediaError(f"`{path}` is damaged: its frames cannot be decoded")


def _movement(frames_FHWC: Frames) -> tuple[Track, NDArray[np.bool_]]:
    """How much moves from each frame to the next, from 0 to 1, and whether a cut, flash or blank frame lies between."""
    pixels_FN3 = frames_FHWC.reshape(len(frames_FHWC), -1, 3) / np.float32(255)
    differences_FN = np.abs(np.diff(pixels_FN3, axis=0)).mean(2)
    change, reach = differences_FN.mean(1).astype(float), (differences_FN > _NOISE).mean(1)
    motion = np.array([_moved(a, b) for a, b in pairwise(pixels_FN3)])
    # A cut changes most of the picture and stands out among the changes before and after. The nearest are left out, for
    # a flash or a blank frame between two shots is two cuts in a row.
    padded = np.pad(change, 5)
    sides = [[padded[5 + k : 5 + k + len(change)] for k in side] for side in ((-5, -4, -3, -2), (2, 3, 4, 5))]
    usual = np.max(np.median(sides, axis=1), axis=0)
    cuts = (change > _CUT) & (reach > _REACH) & (change > 2.5 * usual)
    contrast, light = pixels_FN3.std(axis=1).mean(axis=1), pixels_FN3.mean((1, 2))
    blank = (contrast < _BLANK) & (np.abs(light - 0.5) > 0.5 - 2 * _BLANK) & (np.median(contrast) > 2 * _BLANK)
    return motion, cuts | blank[:-1] | blank[1:]


def _moved(a_N3: NDArray[np.float32], b_N3: NDArray[np.float32]) -> float:
    """Mean absolute difference of two frames, but for what another brightness and contrast of one can explain."""
    a, b = a_N3 - a_N3.mean(0), b_N3 - b_N3.mean(0)
    both = (a * b).sum(0)
    rests = [np.abs(y - x * (both / np.maximum((x * x).sum(0), 1e-9))).mean() for x, y in ((a, b), (b, a))]
    return float(min(np.abs(b_N3 - a_N3).mean(), *rests))


def _busiest(motion: Track, cuts: NDArray[np.bool_], length: int) -> tuple[int, float]:
    """Index at which the busiest run of `length` changes begins, among those with the fewest cuts; its score."""
    window = np.lib.stride_tricks.sliding_window_view
    scores = window(np.where(cuts, 0, motion), length) @ (1 + np.hanning(length + 2)[1:-1])
    num_cuts = window(cuts, length).sum(axis=1)
    best = int(np.argmax(np.where(num_cuts == num_cuts.min(), scores, -1)))
    return best, float(scores[best])


def _promising_parts(scan: Scan, seconds: float) -> Iterator[tuple[float, float]]:
    """Start and length, in seconds, of the parts of a long video on which its codec spent most bytes between keyframes.

    A codec spends them on what changes. If every frame is a keyframe, the parts are spread evenly.
    """
    length, duration = 3 * seconds, scan.media.duration
    edges = np.arange(0.0, duration - length, seconds)
    is_delta = ~np.isin(scan.times, scan.keyframes)
    if not is_delta.any():
        yield from ((float(edge), length) for edge in edges[:: max(1, len(edges) // _NUM_PARTS)])
        return
    times, sizes = scan.times[is_delta], scan.sizes[is_delta]
    around = np.lib.stride_tricks.sliding_window_view(np.pad(sizes, 4, mode="edge"), 9)
    # A cut or a flash is one or two large frames. Others may be small because they repeat the frame before.
    sizes = np.minimum(sizes, 2 * np.sort(around, axis=1)[:, -3])
    spent = np.concatenate([[0.0], np.cumsum(sizes)])
    scores = spent[np.searchsorted(times, edges + length)] - spent[np.searchsorted(times, edges)]
    for _ in range(min(_NUM_PARTS, len(edges))):
        best = int(np.argmax(scores))
        yield float(edges[best]), length
        scores[max(0, best - 1) : best + 2] = -1  # the next but one goes on where this one ends
