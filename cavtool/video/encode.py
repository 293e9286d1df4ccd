"""Frames into files: mp4 and gif by ffmpeg, webp and contact sheets by Pillow."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from cavtool.errors import CavError, InvalidInput, MediaError
from cavtool.system.files import replacing, unwritable, writing_to
from cavtool.video.decode import EXACT, Frames
from cavtool.video.ffmpeg import input_path, run
from cavtool.video.metadata import to_comment
from cavtool.video.probe import probe, sound_codec
from cavtool.video.sheet import draw_sheet

_TAGS = dict.fromkeys(("colorspace", "color_primaries", "color_trc"), "bt709")  # without them, players guess


def encode(
    frames_FHWC: Frames, path: Path, *, fps: float, scale: int = 1, recipe: Mapping[str, object] | None = None
) -> None:
    """Write frames as the suffix says: .mp4 (h264, plays everywhere), .gif, .webp, or .png (a contact sheet).

    `scale` enlarges by whole pixels; `recipe` goes into the file's metadata, for `read_recipe`. The file appears
    whole or not at all, and replaces an existing one. Raises InvalidInput for another suffix, MediaError if it
    cannot be written.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise InvalidInput(f"cannot write `{path.name}`: unknown suffix", hint=f"use one of {', '.join(SUFFIXES)}")
    with _replacing(path) as temporary:
        write(frames_FHWC.repeat(scale, axis=1).repeat(scale, axis=2), temporary, fps, to_comment(recipe))


def encode_like(source: Path, frames_FHWC: Frames, path: Path, *, recipe: Mapping[str, object] | None = None) -> None:
    """Write frames that cover the whole of a video, as an .mp4 of that video's size, frame rate, length and sound.

    Frames are evenly spaced in time, and each is shown until the next. An odd width or height becomes even. Sound is
    copied if it is AAC or MP3, and otherwise encoded as AAC. `recipe` goes into the file's metadata, for `read_recipe`.
    The file appears whole or not at all, and replaces what was there. Raises MediaError when it cannot be written, and
    what `probe` raises.
    """
    media, sound = probe(source), sound_codec(source)
    num_frames = round(media.duration * media.fps)
    stream = (
        _raw_video(frames_FHWC, len(frames_FHWC) / media.duration)
        .filter("fps", fps=media.fps, round="up", start_time=0)
        .filter("tpad", stop_mode="clone", stop=num_frames)
    )
    streams, options = [_to_yuv(stream, *media.even_size)], _mp4_options(to_comment(recipe))
    if sound:
        streams.append(ffmpeg.input(input_path(source))["a:0"])
        options["acodec"] = "copy" if sound in _COPIED_SOUND else "aac"
    with _replacing(path) as temporary:
        _pour(frames_FHWC, ffmpeg.output(*streams, _target(temporary), vframes=num_frames, **options))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file next to `path`, which is renamed to `path` at the end, or deleted after an error."""
    try:
        with writing_to(path), replacing(path) as temporary:
            temporary.touch(exist_ok=False)  # its error is clearer than ffmpeg's if the folder is not writable
            yield temporary
            _check_written(temporary)
    except MediaError as error:
        raise _reason(path, error) from error


def _check_written(file: Path) -> None:
    if not file.stat().st_size:
        raise MediaError("ffmpeg wrote nothing", hint="`cav doctor` checks ffmpeg")


def _reason(path: Path, error: MediaError) -> CavError:
    """The error for a file that cannot be written, by what ffmpeg says."""
    number = next((number for number in (errno.ENOSPC, errno.EFBIG) if os.strerror(number) in error.message), None)
    if number:
        return unwritable(path, OSError(number, os.strerror(number)))
    return MediaError(f"cannot write `{path}`: {error.message}", hint=error.hint)


def _write_mp4(frames_FHWC: Frames, path: Path, fps: float, comment: str | None) -> None:
    _, height, width, _ = frames_FHWC.shape
    # yuv420p halves the resolution of the colours, so both sides must be even.
    frames_FHWC = np.pad(frames_FHWC, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)], mode="edge")
    stream = _to_yuv(_raw_video(frames_FHWC, fps))
    _pour(frames_FHWC, stream.output(_target(path), **_mp4_options(comment)))


def _to_yuv(stream: Any, *size: int) -> Any:
    scaled = stream.filter("scale", *size, out_color_matrix="bt709", out_range="tv", flags=EXACT)
    return scaled.filter("format", "yuv420p").filter("setparams", **_TAGS, range="tv")  # newer ffmpeg ignores options


def _mp4_options(comment: str | None) -> dict[str, Any]:
    metadata = {"metadata": f"comment={comment}"} if comment else {}
    x264 = {"vcodec": "libx264", "pix_fmt": "yuv420p", "crf": 16, "preset": "slow"}
    return {"format": "mp4", "movflags": "+faststart", **x264, **_TAGS, **metadata}


def _write_gif(frames_FHWC: Frames, path: Path, fps: float, comment: str | None) -> None:
    # One palette for the whole clip and an ordered dither, because still surfaces would flicker otherwise.
    copies = _raw_video(frames_FHWC, fps).split()
    palette = copies[0].filter("palettegen", reserve_transparent=0)
    stream = ffmpeg.filter([copies[1], palette], "paletteuse", dither="bayer", bayer_scale=5, diff_mode="rectangle")
    _pour(frames_FHWC, stream.output(_target(path), format="gif"))
    if comment:
        path.write_bytes(_with_comment(path.read_bytes(), comment.encode()))


def _with_comment(gif: bytes, comment: bytes) -> bytes:
    """A GIF with a comment extension after its global colour table (GIF89a, sections 18 and 24)."""
    head = 13 + (3 * 2 ** ((gif[10] & 7) + 1) if gif[10] & 0x80 else 0)
    pieces = [comment[start : start + 255] for start in range(0, len(comment), 255)]
    block = b"\x21\xfe" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\x00"
    return gif[:head] + block + gif[head:]


def _write_webp(frames_FHWC: Frames, path: Path, fps: float, comment: str | None) -> None:
    exif = Image.Exif()
    if comment:
        exif[ExifTags.Base.ImageDescription] = comment
    first, *others = [Image.fromarray(frame) for frame in frames_FHWC]
    durations = np.diff(np.rint(np.arange(len(frames_FHWC) + 1) * 1000 / fps)).astype(int).tolist()  # ms, no drift
    tiff = exif.tobytes().removeprefix(b"Exif\0\0") if comment else b""  # the prefix belongs into JPEG only
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=90, exif=tiff)


def _raw_video(frames_FHWC: Frames, fps: float) -> Any:
    _, height, width, _ = frames_FHWC.shape
    return ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=fps)


def _target(path: Path) -> str:
    return str(path.absolute())  # a relative `-x.mp4` would be an option


def _pour(frames_FHWC: Frames, job: Any) -> None:
    run(job, "ffmpeg", np.ascontiguousarray(frames_FHWC).tobytes())


def _write_sheet(frames_FHWC: Frames, path: Path, fps: float, comment: str | None) -> None:
    """Every frame of one clip, eight per row, labelled with the time."""
    starts = range(0, len(frames_FHWC), 8)
    _save_png(draw_sheet([(f"{start / fps:.2f} s", frames_FHWC[start : start + 8]) for start in starts]), path, comment)


def _save_png(image: Image.Image, path: Path, comment: str | None) -> None:
    info = PngInfo()
    if comment:
        info.add_text("Comment", comment)
    image.save(path, pnginfo=info, optimize=True)


_COPIED_SOUND = {"aac", "mp3"}  # what every player plays in an mp4

# The format is chosen by the suffix, upper case or lower.
_WRITERS = {".mp4": _write_mp4, ".gif": _write_gif, ".webp": _write_webp, ".png": _write_sheet}
SUFFIXES = tuple(_WRITERS)


def contact_sheet(
    rows: Sequence[tuple[str, Frames]],
    path: Path,
    *,
    columns: int = 8,
    scale: int = 2,
    recipe: Mapping[str, object] | None = None,
) -> None:
    """A PNG with one clip per row: its label at the left, then `columns` frames evenly spread from first to last.

    The first line of a label is its title, further lines are smaller. Raises MediaError if it cannot be written.
    """
    cells = [(label, _spread(frames_FHWC, columns).repeat(scale, 1).repeat(scale, 2)) for label, frames_FHWC in rows]
    with _replacing(path) as temporary:
        _save_png(draw_sheet(cells), temporary, to_comment(recipe))


def _spread(frames_FHWC: Frames, columns: int) -> Frames:
    last = len(frames_FHWC) - 1
    return frames_FHWC.take(np.linspace(0, last, min(columns, last + 1)).round().astype(int), axis=0)
