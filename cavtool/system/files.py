"""Atomic writes: a process killed at any moment leaves the old file or the new one, never half of it."""

import errno
import os
import signal
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from cavtool.errors import Conflict, IntegrityFailure, InvalidInput, RequirementError
from cavtool.system import platform

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
NOT_WRITABLE = _FULL | _FORBIDDEN
_LONGEST_NAME = 255  # bytes of a file name on most file systems


def write_atomic(path: Path, save: Callable[[Path], object]) -> Path:
    """Let `save` write a file of the same suffix next to `path`, then rename it to `path`; returns `path`.

    A symbolic link stays: the file that it points to is written. A file that is replaced keeps its permissions. Raises
    InvalidInput for a device, a pipe or a folder.
    """
    with replacing(path) as part:
        save(part)
        failpoint(f"write:saved {path.name}")
        sync(part)
        failpoint(f"write:synced {path.name}")
    failpoint(f"write:replaced {path.name}")
    sync(destination(path).parent)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file next to `path`, which replaces it at the end, as `write_atomic`; deleted after an error."""
    target = destination(path)
    part = target.with_name(f".part-{uuid4().hex[:12]}{target.suffix}")
    try:
        yield part
        with suppress(FileNotFoundError):
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def destination(path: Path) -> Path:
    """The file to write for a path: the one that a symbolic link points to.

    Raises InvalidInput if that is not a regular file.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink() or (path.exists() and not path.is_file()):  # links in /proc cannot be followed by name
        what = "folder" if path.is_dir() else "pipe or a device"
        raise InvalidInput(f"`{path}` is a {what}, not a file", hint="name a file")
    return target


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read. Raises OSError, also for a pipe, which could keep the reader waiting."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(descriptor, "rb")  # noqa: PTH123 a descriptor


def read_text(path: Path) -> str:
    """The UTF-8 text of a regular file. Raises OSError as `open_regular`, and UnicodeDecodeError."""
    with open_regular(path) as file:
        return file.read().decode("utf-8").replace("\r\n", "\n")


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text, with replacements for what is none; empty if there is no file.

    Raises IntegrityFailure for what cannot be read, such as a folder or a pipe.
    """
    try:
        with open_regular(path) as file:
            return file.read().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise IntegrityFailure(f"cannot read `{path}`: {error.strerror}", hint="move it away") from error


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk."""
    is_folder = path.is_dir()
    if is_folder and not platform.CAN_OPEN_FOLDERS:
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing_to(place: Path) -> Iterator[None]:
    """Turn any OSError into a RequirementError, whose message has one line."""
    try:
        yield
    except OSError as error:
        raise unwritable(place, error) from error


def unwritable(place: Path, error: OSError) -> RequirementError:
    """The error for a file or folder that cannot be written; the hint depends on the reason."""
    reason, hint = error.strerror or str(error), None
    if error.errno in _FULL:
        hint = "free some space with `cav prune` or `cav trash empty`, or set `CAV_HOME` to a folder on another disk"
    elif error.errno in _FORBIDDEN:
        hint = "choose a folder that you can write: `-o` for videos, `CAV_HOME` for everything that `cav` keeps"
    elif error.errno == errno.EXDEV:
        hint = f"`{place.name}` and the folders next to it, such as the trash, must be on one disk"
    elif error.errno in {errno.ENOTDIR, errno.EEXIST}:
        hint = "a file is where a folder is needed: move it, or set `CAV_HOME` to another folder"
    named = place
    if isinstance(error.filename, str) and error.errno in _FORBIDDEN:
        file = Path(error.filename)
        named = file.parent if file.name.startswith(".") else file  # hidden files are temporary ones of `cav`
    return RequirementError(f"cannot write to `{named}`: {reason}", hint=hint)


def failpoint(label: str) -> None:
    """Kill this process, as `kill -9` does, if CAV_FAILPOINT is `label`; for tests of killed processes."""
    if os.environ.get("CAV_FAILPOINT") == label:
        os.kill(os.getpid(), signal.SIGKILL)


def output_file(output: Path | None, name: str, suffixes: Collection[str]) -> Path:
    """The file that `-o` asks for: `output` itself, or `name` in it if it is a folder or has no suffix.

    Raises InvalidInput for another suffix.
    """
    if output and not output.suffix and os.path.exists(output) and not os.path.isdir(output):  # noqa: PTH110, PTH112
        destination(output)  # raises for a device
        raise InvalidInput(f"`{output}` is a file, not a folder", hint=f"use one of {', '.join(suffixes)} for a file")
    if output is None or os.path.isdir(output) or not output.suffix:  # noqa: PTH112 a Path raises for a long name
        file = (output or Path()) / name
        return file if str(output) != "-" else _refuse_stdout()
    if output.suffix.lower() not in suffixes:
        hint = f"use one of {', '.join(suffixes)}; create a folder first if its name has a dot"
        raise InvalidInput(f"cannot write `{output.name}`: unknown suffix", hint=hint)
    return output


def _refuse_stdout() -> NoReturn:
    raise InvalidInput(
        "cannot write to stdout", hint="name a file or a folder with `-o`; its path is printed to stdout"
    )


def check_output(file: Path, *, overwrite: bool) -> None:
    """Check that a file can be written, and create its folder.

    Raises Conflict if it exists and `overwrite` is not set, InvalidInput if it is not a file or its name is too long,
    RequirementError if its folder cannot be written.
    """
    if len(os.fsencode(file.name)) > _LONGEST_NAME:
        raise InvalidInput(f"the file name `{file.name[:60]}…` is too long", hint="name a file with `-o`")
    target = destination(file)
    if target.exists() and not overwrite:
        raise Conflict(f"`{file}` already exists", hint="pass `--force` to replace it, or name another file with `-o`")
    make_folder(target.parent)


def make_folder(folder: Path) -> None:
    """Create the folder of a file to write. Raises RequirementError if that is not possible or it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    if not os.access(folder, os.W_OK):
        raise unwritable(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
