"""What a video file is, where in it something moves, and its frames at given times."""

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from cavtool.errors import MediaError
from cavtool.video.program import input_path, run

Frames = NDArray[np.uint8]

_TEXT_ART = {"ansi", "bintext", "idf", "xbin"}  # ffmpeg draws text files, too
EXACT = "bicubic+accurate_rnd+full_chroma_int"  # how to scale: the default makes colours 2 of 255 darker
_SCAN_FPS, _SCAN_SIZE = 12.0, 48


@dataclass(frozen=True)
class Media:
    """A video as a player shows it: rotation and pixel aspect applied, `fps` the mean, `duration` in seconds."""

    width: int
    height: int
    fps: float
    duration: float
    codec: str


@dataclass(frozen=True)
class Window:
    """A part of a video, in seconds; `motion` is the mean absolute change between its frames, from 0 to 1."""

    start: float
    duration: float
    motion: float


@dataclass(frozen=True)
class _Scan:
    media: Media
    times: NDArray[np.float64]  # when each frame appears
    keyframes: NDArray[np.float64]  # those at which decoding can begin
    slack: float  # how late a time may be, by rounding


def probe(path: Path) -> Media:
    """Size, rate and length of a video; only its first two frames are decoded.

    Raises MediaError for what is missing, damaged, no video, or a single picture.
    """
    return _scan(path).media


def _scan(path: Path) -> _Scan:
    packets, coded_F3 = _list_frames(path, c="copy")
    shown, decoded_F3 = _list_frames(path, vframes=2)
    if packets["codec_id"] in _TEXT_ART:
        raise MediaError(f"`{path}` is a text, not a video")
    if min(len(coded_F3), len(decoded_F3)) < 2:
        raise MediaError(f"`{path}` has fewer than two readable frames", hint="a motion needs a video")
    width, height = map(int, shown["dimensions"].split("x"))
    numerator, denominator = map(int, shown["sar"].split("/"))
    pixel_aspect = numerator / denominator if numerator else 1
    times_F = coded_F3[:, 0]
    end = times_F[-1] + (coded_F3[-1, 1] or np.diff(times_F).mean())
    fps = len(times_F) / (end - times_F[0])
    media = Media(round(width * pixel_aspect), height, round(float(fps), 3), round(float(end), 3), packets["codec_id"])
    # gif rounds times to its unit of 10 ms, webm and mkv to 1 ms, which stays when they are copied to a finer unit.
    slack = min(max(1e-3, float(Fraction(packets["tb"])) / 2), 5e-3)
    return _Scan(media, times_F, times_F[coded_F3[:, 2] > 0], slack)


def _list_frames(path: Path, **options: Any) -> tuple[dict[str, str], NDArray[np.float64]]:
    """The header of a video stream, and of each frame, in order: when it appears, how long it lasts, is it a keyframe.

    ffprobe is not everywhere and `ffmpeg -i` speaks to people; https://ffmpeg.org/ffmpeg-formats.html#framecrc is
    a list for machines.
    """
    job = ffmpeg.input(input_path(path))["V:0"].output("pipe:", format="framecrc", **options)
    try:
        text = run(job, f"cannot read `{path}` as a video").decode()
    except MediaError as error:
        if "matches no streams" in error.message:
            raise MediaError(f"`{path}` holds no video") from error
        raise MediaError(error.message, hint="it is damaged, or no video at all") from error
    header = dict(re.findall(r"^#(\w+) 0: (\S+)", text, re.MULTILINE))
    frames = []
    for line in re.findall(r"^0, *(.+)", text, re.MULTILINE):
        dts, pts, lasts, *rest = line.split(",")
        timed = int(pts) != np.iinfo(np.int64).min  # a bare stream says when to decode a frame, not when to show it
        frames.append((int(pts if timed else dts), int(lasts), timed and " F=0x0" not in rest))
    shown = sorted(frame for frame in frames if frame[0] >= 0)  # before zero is what an edit list cuts off
    unit = float(Fraction(header.get("tb", "1")))
    return header, np.array(shown, np.float64).reshape(-1, 3) * (unit, unit, 1)


def _sampled(path: Path, scan: _Scan, *, seek: float, start: float, rate: float, num_frames: int) -> Any:
    """A stream of the frames shown at `start + k / rate`, decoded from the keyframe at `seek` on."""
    stream = ffmpeg.input(input_path(path), **({"ss": seek, "noaccurate_seek": None} if seek else {}))["V:0"]
    return (
        stream.filter("settb", "AVTB")  # else gif rounds the start to 10 ms
        .filter("setpts", f"PTS-{start - seek + scan.slack:.6f}/TB")
        .filter("fps", fps=rate, round="up", start_time=0)  # "up": a frame counts from its time on
        .filter("tpad", stop_mode="clone", stop=num_frames)  # older ffmpeg forget how long the last frame lasts
    )


def decode(path: Path, *, start: float, duration: float, num_frames: int, width: int, height: int) -> Frames:
    """`num_frames` RGB frames (F, H, W, C), evenly spaced in time over a part of a video, whatever its frame rate.

    Frame k is what a player shows at `start + k * duration / num_frames`; a part that lasts longer or shorter than the
    frames will take is thus played faster or slower. Upright, aspect kept, cut to the centre.
    Raises MediaError when the part is not inside the video or shows fewer than two different moments.
    """
    scan = _scan(path)
    media, step = scan.media, duration / num_frames
    if start < 0 or duration <= 0 or start + duration > media.duration + step:
        raise MediaError(
            f"`{path}` lasts {media.duration:.2f} s and has no part from {start:.2f} s to {start + duration:.2f} s",
            hint="choose another start or duration, or neither: the liveliest part is found",
        )
    moments = np.searchsorted(scan.times, start + step * np.arange(num_frames) + scan.slack, side="right")
    if len(np.unique(moments.clip(1))) < min(num_frames, 2):
        raise MediaError(f"`{path}` shows a single frame from {start:.2f} s to {start + duration:.2f} s")
    cover = max(width / media.width, height / media.height)
    for seek in _seek_points(scan, start):
        job = (
            _sampled(path, scan, seek=seek, start=start, rate=1 / step, num_frames=num_frames)
            .filter("scale", round(media.width * cover), round(media.height * cover), flags=EXACT)
            .filter("format", "rgb24")  # before the crop, which is exact only without subsampled colour
            .filter("crop", width, height)
            .output("pipe:", format="rawvideo", vframes=num_frames)
        )
        frames_FHWC = np.frombuffer(run(job, f"cannot decode `{path}`"), np.uint8).reshape(-1, height, width, 3)
        if len(frames_FHWC) == num_frames:
            return frames_FHWC.copy()  # writable
    raise MediaError(f"`{path}` is damaged: its frames cannot be decoded")


def _seek_points(scan: _Scan, start: float) -> list[float]:
    """Where to try to begin decoding: near `start`, then at the very beginning, for files that cannot be entered.

    The last keyframe but one: what is on screen at `start` may have been there for a while, and some containers
    land behind the keyframe that was asked for. gif and animated webp have no keyframes but their first.
    """
    before = scan.keyframes[scan.keyframes <= start][:-1]
    return [*before[-1:].tolist(), 0.0]


def busiest_window(path: Path, seconds: float, aspect: float = 1.0) -> Window:
    """The part of a video, `seconds` long, in which most moves; the whole video when it is not longer.

    Only what `decode` keeps of a frame counts: its centre, `aspect` times as wide as high. Movement near the middle of
    the part counts up to twice, so that it does not touch the ends; a cut counts nothing and halves the worth of a part
    that contains it. Raises MediaError like `probe`.
    """
    scan = _scan(path)
    rate = min(_SCAN_FPS, scan.media.fps)
    num_frames = max(2, round(scan.media.duration * rate))
    job = (
        _sampled(path, scan, seek=0, start=0, rate=rate, num_frames=num_frames)
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
    """Where the liveliest run of `length` changes begins."""
    # A cut is a change of the whole picture that stands alone; movement goes on.
    around = np.maximum(np.append(change[1:], 0), np.append(0, change[:-1]))
    cuts = (change > 0.1) & (change > 4 * around)
    window = np.lib.stride_tricks.sliding_window_view
    motion = window(np.where(cuts, around, change), length) @ (1 + np.hanning(length + 2)[1:-1])
    return int(np.argmax(motion * 0.5 ** window(cuts, length).sum(axis=1)))
