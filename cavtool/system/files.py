"""Atomic writes: a process killed at any moment leaves the old file or the new one, never half of it."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cavtool.errors import InvalidInput, RequirementError
from cavtool.system import platform


def write_atomic(path: Path, save: Callable[[Path], object]) -> Path:
    """Let `save` write a file of the same suffix next to `path`, then rename it to `path`; returns `path`."""
    part = path.with_name(f".part-{path.name}")
    try:
        save(part)
        failpoint(f"write:saved {path.name}")
        sync(part)
        failpoint(f"write:synced {path.name}")
        part.replace(path)
        failpoint(f"write:replaced {path.name}")
    finally:
        part.unlink(missing_ok=True)
    sync(path.parent)
    return path


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
        reason = error.strerror or str(error)
        hint = "free some space there, or set `CAV_HOME` to a writable folder"
        if error.errno == errno.EXDEV:
            hint = f"`{place.name}` and the folders next to it, such as the trash, must be on one disk"
        raise RequirementError(f"cannot write to `{place}`: {reason}", hint=hint) from error


def failpoint(label: str) -> None:
    """Kill this process, as `kill -9` does, if CAV_FAILPOINT is `label`; for tests of killed processes."""
    if os.environ.get("CAV_FAILPOINT") == label:
        os.kill(os.getpid(), signal.SIGKILL)


def make_folder(folder: Path) -> None:
    """Create the folder of a file to write. Raises InvalidInput if that is not possible or it cannot be written."""
    hint = "name another file or folder with `-o`"
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"`{folder}` is not a folder", hint=hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot create the folder `{folder}`: {error.strerror}", hint=hint) from error
    if not os.access(folder, os.W_OK):
        raise InvalidInput(f"cannot write into `{folder}`: permission denied", hint=hint)
