"""What differs between Linux, macOS and Windows, in one place: nothing else asks which of them this is."""

import os
import sys
from pathlib import Path
from typing import Any

CAN_OPEN_FOLDERS = sys.platform != "win32"  # to wait until their list of names is on the disk
CAN_MOVE_OPEN_FILES = sys.platform != "win32"  # and the folders they lie in

# What `subprocess.Popen` is told for a process that outlives this one and its terminal. On Windows these are
# CREATE_NEW_PROCESS_GROUP and DETACHED_PROCESS, which `subprocess` has no names for elsewhere.
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
    """Have glibc keep big freed blocks for the next tensor; elsewhere do nothing.

    By default every big tensor's memory is given back to the kernel at once and asked for again, page by page, zeroed:
    a fifth of a CPU training step.
    """
    if sys.platform != "linux":
        return
    import ctypes

    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)
