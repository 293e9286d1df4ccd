"""Choosing an ffmpeg program and running it."""

import re
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from cavtool.errors import MediaError, NotFound, RequirementError

_DECODERS = {"h264", "hevc", "vp9", "av1", "gif", "prores", "webp_anim"}
_ENCODER = "libx264"
_INSTALL = "`pip install imageio-ffmpeg` installs one"
_TIMEOUT = 60.0  # seconds for a list of codecs, which takes milliseconds


@cache
def ffmpeg_exe() -> str:
    """The ffmpeg to run: the system's, unless the one bundled with imageio-ffmpeg supports more codecs.

    Raises RequirementError if none works.
    """
    installed = [exe for exe in (shutil.which("ffmpeg"), _bundled_exe()) if exe]
    working = {exe: codecs for exe in installed if (codecs := _codecs(exe))}
    if not working:
        raise RequirementError("no working `ffmpeg` on this machine", hint=_INSTALL)
    return max(working, key=lambda exe: len(working[exe]))


def check_ffmpeg() -> None:
    """Raise RequirementError unless there is an ffmpeg that can write mp4: to be called before long work."""
    if _ENCODER in missing_codecs(exe := ffmpeg_exe()):
        raise RequirementError(f"`{exe}` cannot write mp4: it has no `{_ENCODER}`", hint=_INSTALL)


def missing_codecs(exe: str) -> list[str]:
    """Codecs that `cav` uses and this ffmpeg does not support."""
    return sorted({*_DECODERS, _ENCODER} - (_codecs(exe) or frozenset()))


def _bundled_exe() -> str | None:
    with suppress(RuntimeError):
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    return None


@cache
def _codecs(exe: str) -> frozenset[str] | None:
    """The codecs that `cav` uses and this ffmpeg supports; None if it does not run."""
    try:
        listing = subprocess.run(
            [exe, "-codecs"], capture_output=True, text=True, errors="replace", check=True, timeout=_TIMEOUT
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    decoders = set(re.findall(r"^ D\S{5} (\w+)", listing, re.MULTILINE)) & _DECODERS
    return frozenset(decoders | set(re.findall(rf"\b{_ENCODER}\b", listing)))


@cache
def supports(kind: str, name: str) -> bool:
    """Whether the ffmpeg in use has this one of its `filters` or `decoders`."""
    listing = subprocess.run([ffmpeg_exe(), "-hide_banner", f"-{kind}"], capture_output=True, text=True, check=False)
    return re.search(rf"^ *\S+ {re.escape(name)} ", listing.stdout, re.MULTILINE) is not None


def run(job: Any, failure: str, data: bytes = b"") -> bytes:
    """Feed `data` to an ffmpeg-python job and return its output; MediaError(`failure`: ffmpeg's reason) if it fails."""
    return run_logged(job, failure, data)[0]


def run_logged(job: Any, failure: str, data: bytes = b"", level: str = "error") -> tuple[bytes, str]:
    """As `run`, and the log: each message with its level, for example `[error]`, those below `level` left out."""
    done = _finished(job.global_args("-loglevel", f"level+{level}").compile(ffmpeg_exe(), overwrite_output=True), data)
    log = done.stderr.decode(errors="replace")
    if done.returncode:
        reasons = re.findall(r"\[(?:error|fatal|panic)\] (.*)", log) or [f"ffmpeg ended with code {done.returncode}"]
        raise MediaError(f"{failure}: {reasons[0].rstrip('.')}")
    return done.stdout, log


def describe(path: Path) -> str:
    """What ffmpeg logs about a file: its format, streams and metadata."""
    done = _finished([ffmpeg_exe(), "-hide_banner", "-i", input_path(path)])
    return done.stderr.decode(errors="replace")


def _finished(command: list[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg in its own session, so that a Ctrl-C in the terminal does not stop it: the caller decides that."""
    return subprocess.run(command, input=data, capture_output=True, check=False, start_new_session=True)


def input_path(path: Path) -> str:
    """The absolute path: ffmpeg takes `-x.mp4` for an option and `a:b.mp4` for a protocol. Raises MediaError."""
    if path.is_file():
        return str(path.absolute())
    if path.is_dir():
        raise MediaError(f"`{path}` is a folder", hint="name a file in it")
    if url := re.fullmatch(r"(\w{2,}:)[/\\]+(.+)", str(path)):  # a Path keeps one slash
        raise MediaError(f"cannot read `{url[1]}//{url[2]}`: it is a URL, not a file", hint="download the video first")
    if path.exists() or str(path) == "-":
        raise MediaError(
            f"cannot read `{path}`: it is a pipe or a device, not a file", hint="save the video as a file first"
        )
    raise NotFound(f"no such file: `{path}`", hint="check the path")
