"""Differences between Linux, macOS and Windows; no other module asks which of them this is."""

import os
import sys
from pathlib import Path
from typing import Any

CAN_OPEN_FOLDERS = sys.platform != "win32"  # needed to fsync a folder
CAN_MOVE_OPEN_FILES = sys.platform != "win32"  # and the folders that hold them

# Arguments of `subprocess.Popen` for a detached process, which outlives this one and its terminal. On Windows they are
# CREATE_NEW_PROCESS_GROUP and DETACHED_PROCESS, for which `subprocess` has no names on other systems.
APART: dict[str, Any] = {"creationflags": 0x208} if sys.platform == "win32" else {"start_new_session": True}


def resident_memory() -> int | None:
    """The bytes of memory this process holds; its peak on macOS, None on Windows (the standard library cannot say)."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return None
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss


def keep_freed_memory() -> None:
    """Make glibc keep big freed blocks for the next tensor; does nothing on other systems.

    By default glibc returns every big block to the kernel and requests it again, page by page, zeroed, which takes a
    fifth of the time of a CPU training step.
    """
    if sys.platform != "linux":
        return
    import ctypes

    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)
