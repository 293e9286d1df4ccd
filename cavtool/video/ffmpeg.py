"""Choosing an ffmpeg program and running it."""

import re
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from cavtool.errors import MediaError, RequirementError

_DECODERS = {"h264", "hevc", "vp9", "av1", "gif", "prores", "webp_anim"}
_ENCODER = "libx264"


@cache
def ffmpeg_exe() -> str:
    """The ffmpeg to run: the system's, unless the one bundled with imageio-ffmpeg supports more codecs.

    Raises RequirementError if none works.
    """
    installed = [exe for exe in (shutil.which("ffmpeg"), _bundled_exe()) if exe]
    working = {exe: codecs for exe in installed if (codecs := _codecs(exe)) is not None}
    if not working:
        raise RequirementError("no working `ffmpeg` on this machine", hint="`pip install imageio-ffmpeg` brings one")
    return max(working, key=lambda exe: len(working[exe]))


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
        listing = subprocess.run([exe, "-codecs"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    decoders = set(re.findall(r"^ D\S{5} (\w+)", listing, re.MULTILINE)) & _DECODERS
    return frozenset(decoders | set(re.findall(rf"\b{_ENCODER}\b", listing)))


def run(job: Any, failure: str, data: bytes = b"") -> bytes:
    """Feed `data` to an ffmpeg-python job and return its output; MediaError(`failure`: ffmpeg's reason) if it fails."""
    done = _finished(job, data)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines() or [f"ffmpeg ended with code {done.returncode}"]
        reason = re.sub(r"^(\[.*?\] )+", "", lines[0]).rstrip(".")
        raise MediaError(f"{failure}: {reason}")
    return done.stdout


def messages(job: Any) -> str:
    """The error messages of an ffmpeg-python job, which it may print even if it succeeds."""
    return _finished(job).stderr.decode(errors="replace")


def _finished(job: Any, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a job in its own session, which a Ctrl-C in the terminal does not reach: the caller decides what it stops."""
    command = job.global_args("-loglevel", "error").compile(ffmpeg_exe(), overwrite_output=True)
    return subprocess.run(command, input=data, capture_output=True, check=False, start_new_session=True)


def input_path(path: Path) -> str:
    """The absolute path: ffmpeg takes `-x.mp4` for an option and `a:b.mp4` for a protocol. Raises MediaError."""
    if not path.is_file():
        raise MediaError(f"`{path}` is a folder" if path.is_dir() else f"no such file: `{path}`")
    return str(path.absolute())
