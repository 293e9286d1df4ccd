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
from cavtool.video.ffmpeg import input_path, run

_TEXT_ART = {"ansi", "bintext", "idf", "xbin"}  # with these codecs, ffmpeg draws text files


@dataclass(frozen=True)
class Media:
    """A video as a player shows it: rotation and pixel aspect applied, `fps` the mean, `duration` in seconds."""

    width: int
    height: int
    fps: float
    duration: float
    codec: str


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
    media = Media(round(width * pixel_aspect), height, round(float(fps), 3), round(float(end), 3), packets["codec_id"])
    # gif rounds times to 10 ms, webm and mkv to 1 ms; the error remains when they are copied to a finer unit.
    slack = min(max(1e-3, float(Fraction(packets["tb"])) / 2), 5e-3)
    return Scan(media, times_F, coded_F4[:, 3], times_F[coded_F4[:, 2] > 0], slack)


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
            raise MediaError(f"`{path}` holds no video") from error
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
