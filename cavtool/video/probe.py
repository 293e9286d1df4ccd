"""Properties of a video file: size, rate, length, and the time at which each frame appears."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from cavtool.errors import MediaError
from cavtool.video.ffmpeg import input_path, messages, run

_TEXT_ART = {"ansi", "bintext", "idf", "xbin"}  # with these codecs, ffmpeg draws text files


@dataclass(frozen=True)
class Media:
    """A video as a player shows it: rotation and pixel aspect applied, `fps` the mean, `duration` in seconds.

    `num_frames` are those in the file, of which none is repeated.
    """

    width: int
    height: int
    fps: float
    duration: float
    codec: str
    num_frames: int


@dataclass(frozen=True)
class Scan:
    """A video and its frames."""

    media: Media
    times: NDArray[np.float64]  # when each frame appears
    sizes: NDArray[np.float64]  # bytes of each frame
    keyframes: NDArray[np.float64]  # times at which decoding can begin
    slack: float  # rounding error of the times


def probe(path: Path) -> Media:
    """Size, rate and length of a video; only its first two frames are decoded.

    Raises MediaError for a file that is missing, damaged, not a video, or a single picture.
    """
    return scan_frames(path).media


def scan_frames(path: Path) -> Scan:
    """The properties of a video and the times of its frames. Raises what `probe` raises."""
    packets, coded_F4 = _list_frames(path, c="copy")
    shown, decoded_F4 = _list_frames(path, vframes=2)
    if packets["codec_id"] in _TEXT_ART:
        raise MediaError(f"`{path}` is a text file, not a video")
    if min(len(coded_F4), len(decoded_F4)) < 2:
        raise MediaError(f"`{path}` has fewer than two readable frames", hint="a motion needs a video")
    width, height = map(int, shown["dimensions"].split("x"))
    numerator, denominator = map(int, shown["sar"].split("/"))
    pixel_aspect = numerator / denominator if numerator else 1
    times_F = coded_F4[:, 0]
    end = times_F[-1] + (coded_F4[-1, 1] or np.diff(times_F).mean())
    fps = len(times_F) / (end - times_F[0])
    media = Media(
        width=round(width * pixel_aspect),
        height=height,
        fps=round(float(fps), 3),
        duration=round(float(end), 3),
        codec=packets["codec_id"],
        num_frames=len(times_F),
    )
    # gif rounds times to 10 ms, webm and mkv to 1 ms; the error remains when they are copied to a finer unit.
    slack = min(max(1e-3, float(Fraction(packets["tb"])) / 2), 5e-3)
    return Scan(media, times_F, coded_F4[:, 3], times_F[coded_F4[:, 2] > 0], slack)


def sound_codec(path: Path) -> str:
    """The codec of a video's first audio stream, "" if it has none. Raises what `probe` raises."""
    job = ffmpeg.input(input_path(path))["a:0"].output("pipe:", format="framecrc", c="copy", t=0.1)
    try:
        header = run(job, f"cannot read `{path}`").decode()
    except MediaError as error:
        if "matches no streams" in error.message:
            return ""
        raise
    found = re.search(r"^#codec_id 0: (\S+)", header, re.MULTILINE)
    return found[1] if found else ""


def is_cut_short(path: Path) -> bool:
    """Whether the end of a video file is missing, although its beginning plays."""
    job = ffmpeg.input(input_path(path))["V:0"].output("pipe:", format="null", c="copy")
    return re.search("partial file|ended prematurely", messages(job)) is not None


def _list_frames(path: Path, **options: Any) -> tuple[dict[str, str], NDArray[np.float64]]:
    """The header of a video stream, and for each frame, in order, its time, duration, whether it is a keyframe, bytes.

    ffprobe is not always installed, and the output of `ffmpeg -i` is not meant for programs; framecrc
    (https://ffmpeg.org/ffmpeg-formats.html#framecrc) is.
    """
    job = ffmpeg.input(input_path(path))["V:0"].output("pipe:", format="framecrc", **options)
    try:
        text = run(job, f"cannot read `{path}` as a video").decode()
    except MediaError as error:
        if "matches no streams" in error.message:
            raise MediaError(f"`{path}` holds no video", hint="choose a video file") from error
        raise MediaError(error.message, hint="the file is damaged or not a video") from error
    header = dict(re.findall(r"^#(\w+) 0: (\S+)", text, re.MULTILINE))
    frames = []
    for line in re.findall(r"^0, *(.+)", text, re.MULTILINE):
        dts, pts, lasts, size, *rest = line.split(",")
        timed = int(pts) != np.iinfo(np.int64).min  # elementary streams have decoding times only
        frames.append((int(pts if timed else dts), int(lasts), timed and " F=0x0" not in rest, int(size)))
    shown = sorted(frame for frame in frames if frame[0] >= 0)  # an edit list hides the frames before zero
    unit = float(Fraction(header.get("tb", "1")))
    return header, np.array(shown, np.float64).reshape(-1, 4) * (unit, unit, 1, 1)
