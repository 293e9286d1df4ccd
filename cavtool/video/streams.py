"""The video streams of a file and their colours, as ffmpeg describes them."""

import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from cavtool.errors import MediaError
from cavtool.video.ffmpeg import describe, supports

HDR = {"arib-std-b67": "HLG", "smpte2084": "PQ"}  # transfer functions whose colours need tone mapping
_CONVERTIBLE = {"", "unknown", "gbr", "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc"}
_TO_BT709 = {"bt2020c": "zscale=pin=2020:tin=2020_10:p=709:t=709:m=709"}  # others need the matrix only
_WITH_ALPHA = re.compile(r"yuva|gbrap|rgba|bgra|argb|abgr|ya\d|pal8|ayuv|vuya")


@dataclass(frozen=True)
class Stream:
    """A video stream; names are those of ffmpeg, "" if the file does not say.

    `specifier` is what ffmpeg calls it, `decoder` is the one to use instead of ffmpeg's default, and `transparent` says
    whether its pixels have alpha.
    """

    specifier: str
    matrix: str = ""
    primaries: str = ""
    transfer: str = ""
    interlaced: bool = False
    transparent: bool = False
    decoder: str = ""
    is_default: bool = False


@dataclass(frozen=True)
class Contents:
    """What a file holds: its format, its video streams except covers and thumbnails, its first time stamp (seconds)."""

    container: str
    start: float
    streams: tuple[Stream, ...]


def read_contents(path: Path) -> Contents:
    """The contents of a file; no streams if it is not a video.

    ffprobe is not always installed, so this parses the log of `ffmpeg -i`. Raises MediaError for a missing file.
    """
    log = describe(path)
    container = re.search(r"^Input #0, (\S+), from", log, re.MULTILINE)
    start = re.search(r"^  Duration: .*?start: (-?[\d.]+)", log, re.MULTILINE)
    blocks = re.split(r"^ +(?=Stream #0:\d)", log, flags=re.MULTILINE)[1:]
    streams = {stream.specifier: stream for block in blocks if (stream := _parse(block))}
    return Contents(container[1] if container else "", float(start[1]) if start else 0.0, tuple(streams.values()))


def _parse(block: str) -> Stream | None:
    """The stream described by a line of ffmpeg's log and the metadata below it; None if it is not a film.

    Such a line reads `Stream #0:0[0x1](und): Video: hevc (Main 10), yuv420p10le(tv, bt2020nc/bt2020/smpte2084), 64x64`.
    """
    line = re.match(r"Stream #0:(\d+)\S*: Video: (?!none)(\w+)(.*)", block)
    if not line or "(attached pic)" in line[3] or "(timed thumbnails)" in line[3]:
        return None
    pixels = re.search(r", (\w+)(?:\((.*?)\))?, \d+x\d+", line[3])
    name, details = (pixels[1], pixels[2] or "") if pixels else ("", "")
    colours = re.search(r"([\w-]+)/([\w-]+)/([\w-]+)", details)  # a single name if all three are the same
    matrix, primaries, transfer = colours.groups() if colours else ("", "", "")
    decoder = _alpha_decoder(line[2]) if re.search(r"^ +alpha_mode +: 1$", block, re.MULTILINE | re.IGNORECASE) else ""
    return Stream(
        specifier=line[1],
        matrix=matrix,
        primaries=primaries,
        transfer=transfer,
        interlaced=" first" in details,  # "top first", "bottom coded first (swapped)"
        transparent=bool(decoder or _WITH_ALPHA.match(name)),
        decoder=decoder,
        is_default="(default)" in line[3],
    )


def _alpha_decoder(codec: str) -> str:
    """The decoder that reads the alpha of this codec, "" if ffmpeg's default does, or if this ffmpeg has none."""
    decoder = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(codec, "")
    return decoder if decoder and supports("decoders", decoder) else ""


def check_colours(path: Path, stream: Stream) -> None:
    """Raise MediaError if the colours cannot be converted; older versions of ffmpeg would convert them wrongly."""
    if stream.matrix not in _CONVERTIBLE:
        convert = _TO_BT709.get(stream.matrix, "zscale=m=709")
        raise MediaError(
            f"cannot convert the colours of `{path}`: its matrix is `{stream.matrix}`",
            hint=f"convert the file first: `ffmpeg -i {quote(path.name)} -vf {convert} new.mp4`",
        )
