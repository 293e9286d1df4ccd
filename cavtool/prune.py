"""What can go: stale runs, what killed processes left half written, absorbers whose motion is gone."""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from cavtool.recipes import look_name
from cavtool.registry import Registry
from cavtool.runs import Run, list_runs
from cavtool.system import paths
from cavtool.system.files import writing_to

_HALF_WRITTEN = (".part-*", ".tmp-*")
_STILL_AT_IT = timedelta(hours=1)  # what is younger may be being written


@dataclass(frozen=True)
class Litter:
    """Something that can go, and what that frees in bytes."""

    what: Literal["run", "half written", "absorber"]
    name: str
    path: Path
    size: int


def find(age: timedelta, registry: Registry | None = None) -> list[Litter]:
    """All that can go. A run can where no process drives it and nothing in it has changed for `age`."""
    registry = registry or Registry()
    return [*_stale_runs(age), *_half_written(registry), *_unused_absorbers(registry)]


def remove(litter: list[Litter], registry: Registry | None = None) -> None:
    """Delete it, absorbers by way of the trash. Raises Conflict for a run that somebody has resumed since."""
    registry = registry or Registry()
    for each in litter:
        if each.what == "absorber":
            registry.remove(each.name)
        elif each.what == "run":
            Run(each.path).remove()
        else:
            with writing_to(each.path.parent), suppress(FileNotFoundError):
                shutil.rmtree(each.path) if each.path.is_dir() else each.path.unlink()


def _stale_runs(age: timedelta) -> Iterator[Litter]:
    for run in list_runs():
        if run.status != "running" and _untouched(run.folder) >= age:
            yield Litter("run", run.id, run.folder, _size(run.folder))


def _half_written(registry: Registry) -> Iterator[Litter]:
    for root in (paths.runs_dir(), registry.root, registry.trash):
        for pattern in _HALF_WRITTEN:
            for path in (*root.glob(pattern), *root.glob(f"[!.]*/{pattern}")):
                if _untouched(path) >= _STILL_AT_IT:
                    yield Litter("half written", path.relative_to(root).as_posix(), path, _size(path))


def _unused_absorbers(registry: Registry) -> Iterator[Litter]:
    used = {look_name(name) for name in registry.names()}
    clips = {asset.record.clip for asset in registry.list("motion")}  # of motions that have another name by now
    for asset in registry.list("absorber"):
        mine, record = asset.folder.parent == registry.root, asset.record
        if mine and record.origin == "learned" and record.name not in used and record.clip not in clips - {None}:
            yield Litter("absorber", asset.record.name, asset.folder, asset.size)


def _untouched(path: Path) -> timedelta:
    """For how long neither it nor what is in it has changed."""
    latest = max((each.stat().st_mtime for each in (path, *_files(path))), default=0.0)
    return timedelta(seconds=time.time() - latest)


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in _files(path))


def _files(path: Path) -> list[Path]:
    return [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
