"""The differences between Linux, macOS and Windows; no other module asks which system this is."""

import os
import sys
from pathlib import Path
from typing import Any

CAN_OPEN_FOLDERS = sys.platform != "win32"  # to wait until their entries are on disk
CAN_MOVE_OPEN_FILES = sys.platform != "win32"  # and their folders

# Arguments of `subprocess.Popen` for a detached process. On Windows these are CREATE_NEW_PROCESS_GROUP and
# DETACHED_PROCESS, which `subprocess` does not define on other systems.
DETACHED: dict[str, Any] = {"creationflags": 0x208} if sys.platform == "win32" else {"start_new_session": True}


def resident_memory() -> int | None:
    """The resident memory of this process in bytes; its peak on macOS, None on Windows."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return None
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss


def keep_freed_memory() -> None:
    """Have glibc keep big freed blocks for the next tensor; does nothing on other systems.

    By default the memory of every big tensor is returned to the kernel and mapped again, zeroed page by page, which
    takes a fifth of a CPU training step.
    """
    if sys.platform != "linux":
        return
    import ctypes

    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)
