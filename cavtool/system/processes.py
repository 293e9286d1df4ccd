"""Several processes that train together, as `accelerate launch` and `torchrun` start them: by their variables."""

import os


def num_processes() -> int:
    """How many processes work together; 1 for an ordinary one."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_main() -> bool:
    """Whether this is the process that prints and writes files."""
    return num_processes() == 1 or os.environ.get("RANK") == "0"


def local_rank() -> int:
    """The number of this process on its machine, which is that of its accelerator."""
    return int(os.environ.get("LOCAL_RANK") or 0)
