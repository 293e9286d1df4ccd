"""Properties of a video file: size, rate, length, and the time at which each frame appears."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from cavtool.errors import MediaError
from cavtool.video.ffmpeg import input_path, run_logged
from cavtool.video.streams import Stream, check_colours, read_contents

_TEXT_ART = {"ansi", "bintext", "idf", "xbin"}  # with these codecs, ffmpeg draws text files
_OWN_ZERO = {"mpeg", "mpegts", "nut", "ogg"}  # ffmpeg counts their time from the first frame that it reads
_CUT_SHORT = "partial file|ended prematurely"


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

    @property
    def even_size(self) -> tuple[int, int]:
        """Width and height, the next even ones if they are odd, as an .mp4 needs them."""
        return self.width + self.width % 2, self.height + self.height % 2


@dataclass(frozen=True)
class Scan:
    """A video and its frames, with times in seconds from the start of the file."""

    media: Media
    times: NDArray[np.float64]  # when each frame appears
    sizes: NDArray[np.float64]  # bytes of each frame
    keyframes: NDArray[np.float64]  # times at which decoding can begin
    slack: float  # rounding error of the times
    stream: Stream  # the one that is read
    delay: float  # the time that ffmpeg takes for 0, if it reads this stream from its beginning
    cut_short: bool  # whether the end of the file is missing


@dataclass(frozen=True)
class _Listing:
    """The header of a video stream, and for each frame, in order, its time, duration, whether it is a keyframe, bytes.

    `first` is the time of the first frame in the order of decoding, `unit` the resolution of the times, in seconds.
    """

    header: dict[str, str]
    frames: NDArray[np.float64]  # (F, 4)
    first: float
    unit: float


def probe(path: Path) -> Media:
    """Size, rate and length of a video; only its first two frames are decoded.

    Raises MediaError for a file that is missing, damaged, not a video, a single picture, or of colours that cannot be
    converted.
    """
    return scan_frames(path).media


def scan_frames(path: Path) -> Scan:
    """The properties of a video and the times of its frames. Raises what `probe` raises.

    Of several video streams, the one with the default disposition is read, otherwise the one with the most frames.
    """
    status = Path(input_path(path)).stat()
    return _scan(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)  # choosing the part of a video and decoding it both need the scan of the whole file
def _scan(path: Path, _mtime: int, _size: int) -> Scan:
    contents = read_contents(path)
    streams = contents.streams or (Stream("V:0"),)
    listings, log = _list_frames(path, *streams, c="copy")
    packets, stream = max(zip(listings, streams, strict=True), key=lambda pair: _rank(*pair))
    (decoded,), _ = _list_frames(path, stream, vframes=2)
    if packets.header["codec_id"] in _TEXT_ART:
        raise MediaError(f"`{path}` is a text file, not a video")
    if min(len(packets.frames), len(decoded.frames)) < 2:
        raise MediaError(f"`{path}` has fewer than two readable frames", hint="choose a video of several frames")
    check_colours(path, stream)
    delay = _measure_delay(path, stream, packets, contents.start) if contents.container in _OWN_ZERO else 0.0
    width, height = map(int, decoded.header["dimensions"].split("x"))
    numerator, denominator = map(int, decoded.header["sar"].split("/"))
    pixel_aspect = numerator / denominator if numerator else 1
    coded_F4 = packets.frames + np.array([delay, 0, 0, 0])
    times_F = coded_F4[:, 0]
    end = times_F[-1] + (coded_F4[-1, 1] or np.diff(times_F).mean())
    fps = len(times_F) / (end - times_F[0])
    media = Media(
        width=round(width * pixel_aspect),
        height=height,
        fps=round(float(fps), 3),
        duration=round(float(end), 3),
        codec=packets.header["codec_id"],
        num_frames=len(times_F),
    )
    cut_short = re.search(_CUT_SHORT, log) is not None
    return Scan(media, times_F, coded_F4[:, 3], times_F[coded_F4[:, 2] > 0], _slack(packets), stream, delay, cut_short)


def sound_codec(path: Path) -> str:
    """The codec of a video's first audio stream, "" if it has none. Raises what `probe` raises."""
    job = ffmpeg.input(input_path(path))["a:0"].output("pipe:", format="framecrc", c="copy", t=0.1)
    try:
        header, _ = run_logged(job, f"cannot read `{path}`")
    except MediaError as error:
        if "matches no streams" in error.message:
            return ""
        raise
    found = re.search(r"^#codec_id 0: (\S+)", header.decode(), re.MULTILINE)
    return found[1] if found else ""


def _rank(packets: _Listing, stream: Stream) -> tuple[bool, bool, int]:
    """The stream with the highest rank is read, and the first of equal ones; a stream of one frame is a thumbnail."""
    num_frames = len(packets.frames)
    return num_frames > 1, stream.is_default, num_frames


def _slack(packets: _Listing) -> float:
    """The rounding error of the times in a file, in seconds.

    GIF rounds times to 10 ms, WebM and Matroska to 1 ms, and the error remains when they are copied to a finer unit. A
    unit as long as a frame, as in Ogg, rounds nothing.
    """
    interval = np.median(np.diff(packets.frames[:, 0]))
    return 1e-3 if interval < 1.5 * packets.unit else min(max(1e-3, packets.unit / 2), 5e-3)


def _measure_delay(path: Path, stream: Stream, packets: _Listing, start: float) -> float:
    """The time of the file at which ffmpeg's own time begins: that of the first frame unless sound comes before it."""
    job = ffmpeg.input(input_path(path))[stream.specifier].output("pipe:", format="framecrc", c="copy", vframes=1)
    output, _ = run_logged(job.global_args("-copyts"), f"cannot read `{path}` as a video")
    delay = _parse_listing(output.decode(), 0).first - start - packets.first
    return delay if abs(delay) > 1e-4 else 0.0  # the start is rounded to 1 µs


def _list_frames(path: Path, *streams: Stream, **options: Any) -> tuple[list[_Listing], str]:
    """The frames of each of these streams, and ffmpeg's log.

    ffprobe is not always installed, but framecrc (https://ffmpeg.org/ffmpeg-formats.html#framecrc) is meant for
    programs too.
    """
    file = ffmpeg.input(input_path(path))
    job = ffmpeg.output(*[file[stream.specifier] for stream in streams], "pipe:", format="framecrc", **options)
    try:
        output, log = run_logged(job, f"cannot read `{path}` as a video")
    except MediaError as error:
        if _lacks_end(path):
            hint = "copy, download or record it again"
            raise MediaError(f"cannot read `{path}`: it is truncated, its index is missing", hint=hint) from error
        if "matches no streams" in error.message:
            raise MediaError(f"`{path}` holds no video", hint="choose a video file") from error
        raise MediaError(error.message, hint="the file is damaged or not a video") from error
    text = output.decode()
    return [_parse_listing(text, number) for number in range(len(streams))], log


def _parse_listing(text: str, number: int) -> _Listing:
    header = dict(re.findall(rf"^#(\w+) {number}: (\S+)", text, re.MULTILINE))
    frames = []
    for line in re.findall(rf"^{number}, *(.+)", text, re.MULTILINE):
        dts, pts, lasts, size, *rest = line.split(",")
        timed = int(pts) != np.iinfo(np.int64).min  # elementary streams have decoding times only
        frames.append((int(pts if timed else dts), int(lasts), timed and " F=0x0" not in rest, int(size)))
    shown = sorted(frame for frame in frames if frame[0] >= 0)  # an edit list hides the frames before zero
    unit = float(Fraction(header.get("tb", "1")))
    frames_F4 = np.array(shown, np.float64).reshape(-1, 4) * (unit, unit, 1, 1)
    return _Listing(header, frames_F4, frames[0][0] * unit if frames else 0.0, unit)


def _lacks_end(path: Path) -> bool:
    """Whether an mp4 or mov file ends inside one of its boxes (ISO/IEC 14496-12, section 4.2) or has no index."""
    names, at, end = [], 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 8 <= end:
            file.seek(at)
            head = file.read(16)
            names.append(head[4:8])
            size = int.from_bytes(head[:4])
            at += max(8, {0: end - at, 1: int.from_bytes(head[8:])}.get(size, size))
    return names[:1] == [b"ftyp"] and (at > end or b"moov" not in names)
