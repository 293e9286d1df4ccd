"""Frames of a video at given times."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from cavtool.errors import MediaError
from cavtool.events import Note, OnEvent, Warn
from cavtool.video.ffmpeg import input_path, run, run_logged, supports
from cavtool.video.probe import Scan, scan_frames
from cavtool.video.streams import HDR, Stream

Frames = NDArray[np.uint8]

EXACT = "bicubic+accurate_rnd+full_chroma_int"  # ffmpeg's default scaling makes colours darker by 2 of 255
_BLACK = 24  # of 255: film grain and compression reach about 20 in a black part
_UNIFORM = 16  # of 255: compression noise in a video of one colour is less
MOTION = 4  # different frames that a motion needs


def sample_frames(
    path: Path, scan: Scan, *, seek: float, start: float, rate: float, num_frames: int, quick: bool = False
) -> Any:
    """A stream of the frames shown at `start + k / rate`, decoded from the keyframe at `seek` on.

    `quick` leaves out what takes time: deinterlacing and alpha.
    """
    # With reinit_filter=0, a change of size does not restart the filters, of which `fps` would lose its time.
    options: dict[str, Any] = {"reinit_filter": 0} | ({"ss": seek, "noaccurate_seek": None} if seek else {})
    if scan.stream.decoder and not quick:
        options["c:v"] = scan.stream.decoder
    stream = ffmpeg.input(input_path(path), **options)[scan.stream.specifier]
    if scan.stream.interlaced and not quick:
        stream = stream.filter("scale").filter("bwdif", mode="send_frame", deint="interlaced")  # needs a constant size
    return (
        stream.filter("settb", "AVTB")  # else gif rounds the start to 10 ms
        .filter("setpts", f"PTS-{start - (seek or scan.delay) + scan.slack:.6f}/TB")
        .filter("fps", fps=rate, round="up", start_time=0)  # "up": a frame is shown from its time on
        .filter("tpad", stop_mode="clone", stop=num_frames)  # old ffmpeg loses the last duration
    )


def decode(
    path: Path,
    *,
    start: float,
    duration: float,
    num_frames: int,
    width: int,
    height: int,
    moving: bool = False,
    on_event: OnEvent = lambda _: None,
) -> Frames:
    """`num_frames` RGB frames (F, H, W, C), evenly spaced in time over a part of a video, whatever its frame rate.

    Frame k is what a player shows at `start + k * duration / num_frames`: a part longer or shorter than the clip is
    played faster or slower. Rotation is applied, the aspect is kept, and the frame is cropped to its centre. HDR is
    tone-mapped, interlaced frames are deinterlaced, transparent ones are composited on black: a note about each goes
    to `on_event`, and a warning if the file is cut short.
    Raises MediaError when the part is not inside the video or shows fewer than two different moments, or fewer than
    four if it must be `moving`.
    """
    scan = scan_frames(path)
    media, step = scan.media, duration / num_frames
    if start < 0 or duration <= 0 or start + duration > media.duration + step:
        raise MediaError(
            f"`{path}` lasts {media.duration:.2f} s and has no part from {start:.2f} s to {start + duration:.2f} s",
            hint="choose another start or duration, or leave both out to use the busiest part",
        )
    moments = np.searchsorted(scan.times, start + step * np.arange(num_frames) + scan.slack, side="right")
    num_moments = len(np.unique(moments.clip(1)))
    if num_moments < min(num_frames, MOTION if moving else 2):
        shown = f"{num_moments} different frames" if num_moments > 1 else "a single frame"
        reason = ": a motion needs at least four" if moving else ""
        hint = "choose another part or a longer one"
        raise MediaError(f"`{path}` shows {shown} from {start:.2f} s to {start + duration:.2f} s{reason}", hint=hint)
    _report(path, scan, on_event)
    for seek in _seek_points(scan, start):
        part = _Part(path, scan, seek=seek, start=start, rate=1 / step, num_frames=num_frames, size=(width, height))
        frames_FHWC = part.decode()
        if len(frames_FHWC) < num_frames:
            continue
        if frames_FHWC.shape[3] == 4 and frames_FHWC[..., 3].min() < 255:
            on_event(Note(f"`{path}` is transparent in places: composited on black"))
            return replace(part, on_black=True).decode()
        return np.ascontiguousarray(frames_FHWC[..., :3])
    raise MediaError(f"`{path}` is damaged: its frames cannot be decoded")


def decode_whole(path: Path, *, num_frames: int, width: int, height: int, on_event: OnEvent = lambda _: None) -> Frames:
    """`num_frames` RGB frames (F, H, W, C), evenly spaced over a whole video, each stretched to the size.

    HDR is tone-mapped; events as in `decode`. Raises MediaError if the video cannot be decoded, and what `probe`
    raises.
    """
    scan = scan_frames(path)
    _report(path, scan, on_event)
    rate = num_frames / scan.media.duration
    job = sample_frames(path, scan, seek=0, start=0, rate=rate, num_frames=num_frames)
    job = job.filter("scale", width, height, flags=EXACT)
    if can_tone_map(scan.stream):
        job = _tone_map(job, scan.stream)
    job = job.output("pipe:", format="rawvideo", pix_fmt="rgb24", vframes=num_frames)
    frames_FHWC = np.frombuffer(run(job, f"cannot decode `{path}`"), np.uint8).reshape(-1, height, width, 3)
    if len(frames_FHWC) < num_frames:
        raise MediaError(f"`{path}` is damaged: its frames cannot be decoded")
    return frames_FHWC.copy()  # writable


def _report(path: Path, scan: Scan, on_event: OnEvent) -> None:
    hdr = HDR.get(scan.stream.transfer)
    if hdr and can_tone_map(scan.stream):
        on_event(Note(f"`{path}` is HDR ({hdr}): its colours are tone-mapped"))
    elif hdr:
        on_event(
            Warn(f"`{path}` is HDR ({hdr}), and this ffmpeg has no `zscale` to tone-map it: its colours are wrong")
        )
    if scan.stream.interlaced:
        on_event(Note(f"`{path}` is interlaced: its frames are deinterlaced"))
    if scan.cut_short:
        on_event(Warn(f"`{path}` is truncated: its end is missing"))


def is_black(frames: Frames) -> bool:
    """Whether frames are black, as far as film grain and compression let them be."""
    return int(frames.max()) < _BLACK


def shows_nothing(frames: Frames) -> bool:
    """Whether frames are black or of another single colour, as far as film grain and compression let them be."""
    channels = frames.reshape(-1, frames.shape[-1])
    ranges = channels.max(0).astype(int) - channels.min(0)
    return is_black(frames) or int(ranges.max()) < _UNIFORM


def can_tone_map(stream: Stream) -> bool:
    """Whether the stream is HDR and this ffmpeg can convert it."""
    return stream.transfer in HDR and supports("filters", "zscale")


@dataclass(frozen=True)
class _Part:
    """Frames to decode from a file, beginning at the keyframe at `seek`, at this size.

    `on_black` composites transparent pixels; otherwise the alpha of a stream that has it is a fourth colour.
    """

    path: Path
    scan: Scan
    seek: float
    start: float
    rate: float
    num_frames: int
    size: tuple[int, int]
    on_black: bool = False

    def decode(self) -> Frames:
        """The frames (F, H, W, C), fewer than requested if the file is damaged or cannot be entered at `seek`."""
        shown = (self.scan.media.width, self.scan.media.height)
        frames_FHWC, shapes = self._run(shown)
        for shape in set(shapes) - {shown}:  # the size or the pixel aspect changes in the file
            again_FHWC, _ = self._run(shape)
            changed = [each == shape for each in shapes]
            frames_FHWC[changed] = again_FHWC[changed]
        return frames_FHWC

    def _run(self, shown: tuple[int, int]) -> tuple[Frames, list[tuple[int, int]]]:
        """The frames, scaled for a display size of `shown` (width, height), and the display size of each."""
        width, height = self.size
        cover = max(width / shown[0], height / shown[1])
        job = sample_frames(
            self.path, self.scan, seek=self.seek, start=self.start, rate=self.rate, num_frames=self.num_frames
        ).filter("showinfo", checksum=0)
        if self.on_black:
            job = job.filter("format", "gbrap").filter("premultiply", inplace=1)
        job = job.filter("scale", round(shown[0] * cover), round(shown[1] * cover), flags=EXACT)
        if can_tone_map(self.scan.stream):
            job = _tone_map(job, self.scan.stream)
        pixels = "rgba" if self.scan.stream.transparent and not self.on_black else "rgb24"
        job = (
            job.filter("format", pixels)  # before the crop, which is exact only without subsampled colour
            .filter("crop", width, height)
            .output("pipe:", format="rawvideo", vframes=self.num_frames)
        )
        output, log = run_logged(job, f"cannot decode `{self.path}`", level="info")
        frames_FHWC = np.frombuffer(output, np.uint8).reshape(-1, height, width, 4 if pixels == "rgba" else 3)
        shapes = _shapes(log)[: len(frames_FHWC)]  # none if another version of ffmpeg logs them differently
        return frames_FHWC.copy(), shapes if len(shapes) == len(frames_FHWC) else []  # the copy is writable


def _shapes(log: str) -> list[tuple[int, int]]:
    """Width and height of each frame on a player, from the log of the filter `showinfo`."""
    found = [map(int, line) for line in re.findall(r" n: *\d+ .* sar:(\d+)/(\d+) s:(\d+)x(\d+)", log)]
    return [(round(width * (over / under if over else 1)), height) for over, under, width, height in found]


def _tone_map(job: Any, stream: Stream) -> Any:
    """HDR as BT.709: in linear light, where 1 is the brightness of white paper (203 cd/m², ITU-R BT.2408)."""
    unknown = {"", "unknown"}
    guessed = ({"min": "2020_ncl"} if stream.matrix in unknown else {}) | (
        {"pin": "2020"} if stream.primaries in unknown else {}
    )
    return (
        job.filter("format", "gbrp10le" if stream.matrix == "gbr" else "yuv444p10le")
        .filter("zscale", t="linear", npl=203, **guessed)
        .filter("format", "gbrpf32le")
        .filter("zscale", p="709")
        .filter("tonemap", "clip", desat=0)  # newer versions desaturate what is bright
        .filter("zscale", t="709", m="gbr", r="pc")
        .filter("format", "gbrp")
    )


def _seek_points(scan: Scan, start: float) -> list[float]:
    """Times at which to begin decoding, to be tried in turn: near `start`, then 0 for files that ffmpeg cannot seek in.

    The first is the last keyframe but one before `start`: the frame shown at `start` may have appeared long before,
    and in some containers ffmpeg lands after the requested keyframe. A gif or animated webp has one keyframe, its
    first.
    """
    before = scan.keyframes[scan.keyframes <= start][:-1]
    return [*before[-1:].tolist(), 0.0]
