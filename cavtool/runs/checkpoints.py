"""The states of a training, one file per checkpoint."""

import re
from pathlib import Path

from cavtool.system.files import failpoint

_FILE = re.compile(r"step-(\d+)\.safetensors")


def name(step: int) -> str:
    """The file of the state after `step` steps."""
    return f"step-{step}.safetensors"


def find(folder: Path) -> list[tuple[int, Path]]:
    """The step and the file of every state in a run's folder, the earliest first."""
    found = ((_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def drop_old(folder: Path, keep: int) -> None:
    """Delete all but the `keep` latest states."""
    for _, path in find(folder)[:-keep]:
        path.unlink()
        failpoint("checkpoint:dropped")
