"""Processes that train together, by the variables that `accelerate launch` and `torchrun` set; and ending signals."""

import os
import signal


def num_processes() -> int:
    """How many processes work together; 1 unless a launcher started this one."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_main() -> bool:
    """Whether this is the process that prints and writes files."""
    return num_processes() == 1 or os.environ.get("RANK") == "0"


def local_rank() -> int:
    """The number of this process on its machine, which is that of its accelerator."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def ending_signals() -> list[signal.Signals]:
    """The signals with which a user or the system ends a process, as far as this system has them."""
    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
