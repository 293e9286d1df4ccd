"""Find and remove leftovers: stale runs, partial files, and absorbers whose motion has been deleted."""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from cavtool.names import absorber_name
from cavtool.registry import Registry
from cavtool.runs import Run, Runs
from cavtool.system.files import writing_to
from cavtool.workspace import Workspace

_PARTIAL = (".part-*", ".tmp-*")
_MAY_BE_IN_USE = timedelta(hours=1)  # a process may still be writing a younger file


@dataclass(frozen=True)
class Leftover:
    """Something that can be removed; `size` is the number of bytes this frees."""

    what: Literal["run", "partial file", "absorber"]
    name: str
    path: Path
    size: int


def find(age: timedelta, workspace: Workspace | None = None) -> list[Leftover]:
    """Everything that can be removed. A run is stale if no process drives it and it has not changed for `age`."""
    workspace = workspace or Workspace()
    registry, runs = workspace.registry, workspace.runs
    return [*_stale_runs(runs, age), *_partial_files(registry, runs), *_unused_absorbers(registry)]


def remove(leftovers: list[Leftover], workspace: Workspace | None = None) -> None:
    """Delete them; absorbers go to the trash. Raises Conflict for a run that has been resumed since."""
    registry = (workspace or Workspace()).registry
    for each in leftovers:
        if each.what == "absorber":
            registry.remove(each.name)
        elif each.what == "run":
            Run(each.path).remove()
        else:
            with writing_to(each.path.parent), suppress(FileNotFoundError):
                shutil.rmtree(each.path) if each.path.is_dir() else each.path.unlink()


def _stale_runs(runs: Runs, age: timedelta) -> Iterator[Leftover]:
    for run in runs.list():
        if run.status != "running" and _unchanged_for(run.folder) >= age:
            yield Leftover("run", run.id, run.folder, _size(run.folder))


def _partial_files(registry: Registry, runs: Runs) -> Iterator[Leftover]:
    for root in (runs.root, registry.root, registry.trash):
        for pattern in _PARTIAL:
            for path in (*root.glob(pattern), *root.glob(f"[!.]*/{pattern}")):
                if _unchanged_for(path) >= _MAY_BE_IN_USE:
                    yield Leftover("partial file", path.relative_to(root).as_posix(), path, _size(path))


def _unused_absorbers(registry: Registry) -> Iterator[Leftover]:
    used = {absorber_name(name) for name in registry.names()}
    clips = {asset.record.clip for asset in registry.list("motion")}  # a renamed motion still uses its absorber
    for asset in registry.list("absorber"):
        own, record = asset.folder.parent == registry.root, asset.record
        with_a_motion = record.origin == "learned" and record.clip is not None  # `cav absorb` makes one without a clip
        if own and with_a_motion and record.name not in used and record.clip not in clips:
            yield Leftover("absorber", record.name, asset.folder, asset.size)


def _unchanged_for(path: Path) -> timedelta:
    """The time since the last change of `path`, or of a file in it."""
    latest = max((each.stat().st_mtime for each in (path, *_files(path))), default=0.0)
    return timedelta(seconds=time.time() - latest)


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in _files(path))


def _files(path: Path) -> list[Path]:
    return [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
