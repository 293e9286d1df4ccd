"""The lock in the folder of a run. The process that holds it drives the run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cavtool.errors import Conflict
from cavtool.system.files import write_atomic, writing_to

_LOCK, _PID = "lock", "pid"
_PATIENCE = 1.0  # seconds: a process that reads the status of a run holds its lock for a moment


def driver(folder: Path) -> int | None:
    """The id of the live process that drives the run, or None."""
    from filelock import FileLock, Timeout  # 50 ms that a list of finished runs does not need

    try:
        pid = int((folder / _PID).read_text())
    except (OSError, ValueError):
        return None
    try:
        with FileLock(folder / _LOCK).acquire(timeout=0):
            return None
    except Timeout:
        return pid
    except OSError:  # a lock that cannot be opened locks nothing
        return None


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock. Raises Conflict if another process does, RequirementError if it cannot be written."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _LOCK)
    with writing_to(folder):
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            process = f"process {pid}" if (pid := driver(folder)) else "another process"
            hint = f"`cav runs stop {folder.name}` stops it"
            raise Conflict(f"run `{folder.name}` is being driven by {process}", hint=hint) from None
    try:
        yield
    finally:
        lock.release()


def write_pid(folder: Path) -> None:
    """Write the id of this process, once it holds the lock. Raises RequirementError."""
    with writing_to(folder):
        write_atomic(folder / _PID, lambda path: path.write_text(str(os.getpid())))


def clear_pid(folder: Path) -> None:
    """Remove the process id, before the lock is released."""
    try:
        (folder / _PID).unlink(missing_ok=True)
    except OSError:  # Windows, if another process is reading it
        return
