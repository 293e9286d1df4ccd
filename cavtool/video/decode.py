"""Frames of a video at given times."""

from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from cavtool.errors import MediaError
from cavtool.video.ffmpeg import input_path, run
from cavtool.video.probe import Scan, scan_frames

Frames = NDArray[np.uint8]

EXACT = "bicubic+accurate_rnd+full_chroma_int"  # ffmpeg's default scaling makes colours darker by 2 of 255


def sample_frames(path: Path, scan: Scan, *, seek: float, start: float, rate: float, num_frames: int) -> Any:
    """A stream of the frames shown at `start + k / rate`, decoded from the keyframe at `seek` on."""
    stream = ffmpeg.input(input_path(path), **({"ss": seek, "noaccurate_seek": None} if seek else {}))["V:0"]
    return (
        stream.filter("settb", "AVTB")  # else gif rounds the start to 10 ms
        .filter("setpts", f"PTS-{start - seek + scan.slack:.6f}/TB")
        .filter("fps", fps=rate, round="up", start_time=0)  # "up": a frame is shown from its time on
        .filter("tpad", stop_mode="clone", stop=num_frames)  # old ffmpeg loses the last duration
    )


def decode(path: Path, *, start: float, duration: float, num_frames: int, width: int, height: int) -> Frames:
    """`num_frames` RGB frames (F, H, W, C), evenly spaced in time over a part of a video, whatever its frame rate.

    Frame k is what a player shows at `start + k * duration / num_frames`: a part longer or shorter than the clip is
    played faster or slower. Rotation is applied, the aspect is kept, and the frame is cropped to its centre.
    Raises MediaError when the part is not inside the video or shows fewer than two different moments.
    """
    scan = scan_frames(path)
    media, step = scan.media, duration / num_frames
    if start < 0 or duration <= 0 or start + duration > media.duration + step:
        raise MediaError(
            f"`{path}` lasts {media.duration:.2f} s and has no part from {start:.2f} s to {start + duration:.2f} s",
            hint="choose another start or duration, or leave both out to use the busiest part",
        )
    moments = np.searchsorted(scan.times, start + step * np.arange(num_frames) + scan.slack, side="right")
    if len(np.unique(moments.clip(1))) < min(num_frames, 2):
        raise MediaError(f"`{path}` shows a single frame from {start:.2f} s to {start + duration:.2f} s")
    cover = max(width / media.width, height / media.height)
    for seek in _seek_points(scan, start):
        job = (
            sample_frames(path, scan, seek=seek, start=start, rate=1 / step, num_frames=num_frames)
            .filter("scale", round(media.width * cover), round(media.height * cover), flags=EXACT)
            .filter("format", "rgb24")  # before the crop, which is exact only without subsampled colour
            .filter("crop", width, height)
            .output("pipe:", format="rawvideo", vframes=num_frames)
        )
        frames_FHWC = np.frombuffer(run(job, f"cannot decode `{path}`"), np.uint8).reshape(-1, height, width, 3)
        if len(frames_FHWC) == num_frames:
            return frames_FHWC.copy()  # writable
    raise MediaError(f"`{path}` is damaged: its frames cannot be decoded")


def decode_whole(path: Path, *, num_frames: int, width: int, height: int) -> Frames:
    """`num_frames` RGB frames (F, H, W, C), evenly spaced over a whole video, each stretched to the size.

    Raises MediaError if the video cannot be decoded, and what `probe` raises.
    """
    scan = scan_frames(path)
    job = (
        sample_frames(path, scan, seek=0, start=0, rate=num_frames / scan.media.duration, num_frames=num_frames)
        .filter("scale", width, height, flags=EXACT)
        .output("pipe:", format="rawvideo", pix_fmt="rgb24", vframes=num_frames)
    )
    frames_FHWC = np.frombuffer(run(job, f"cannot decode `{path}`"), np.uint8).reshape(-1, height, width, 3)
    if len(frames_FHWC) < num_frames:
        raise MediaError(f"`{path}` is damaged: its frames cannot be decoded")
    return frames_FHWC.copy()  # writable


def _seek_points(scan: Scan, start: float) -> list[float]:
    """Times at which to begin decoding, to be tried in turn: near `start`, then 0 for files that ffmpeg cannot seek in.

    The first is the last keyframe but one before `start`: the frame shown at `start` may have appeared long before,
    and in some containers ffmpeg lands after the requested keyframe. A gif or animated webp has one keyframe, its
    first.
    """
    before = scan.keyframes[scan.keyframes <= start][:-1]
    return [*before[-1:].tolist(), 0.0]
