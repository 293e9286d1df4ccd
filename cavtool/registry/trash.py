"""What was removed from a registry or replaced in it, and the way back: `<root>/../trash/<name>-<stamp>/`."""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cavtool.errors import Conflict, IntegrityFailure, NotFound, closest
from cavtool.registry.asset import Asset, load, verify
from cavtool.registry.record import RECORD, check_ours
from cavtool.registry.store import Registry
from cavtool.system.files import failpoint

_HALF = ".tmp-"  # half deleted, by a process that was killed
_ENTRY = re.compile(r"(?P<name>[a-z0-9].*)-(?P<stamp>\d{8}-\d{6}-\d{6})")


@dataclass(frozen=True)
class Thrown:
    """An asset in the trash: under which name it was known, and until when (UTC)."""

    folder: Path
    name: str
    removed: datetime

    @property
    def id(self) -> str:
        """What tells it from others that had its name."""
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes in its files."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())


def list_trash(registry: Registry) -> list[Thrown]:
    """All that lies in the trash, the newest first."""
    return sorted(_thrown(registry), key=lambda thrown: thrown.removed, reverse=True)


def restore(registry: Registry, wanted: str, *, to: str | None = None) -> Asset:
    """Bring back what has this id, or was the last to have this name; under the name `to`, if given.

    Raises NotFound, Conflict where the name is taken, IntegrityFailure where the record is damaged.
    """
    _wanted(registry, wanted)  # before anything is made, and again when nobody can change it any more
    with registry.writing():
        thrown = _wanted(registry, wanted)
        try:
            there = Asset(load(thrown.folder / RECORD, thrown.name), thrown.folder)
        except FileNotFoundError as error:
            raise IntegrityFailure(f"`{thrown.id}` has no `{RECORD}`") from error
        if to not in (None, thrown.name):
            verify(there)
            check_ours(there.record)
            files = {name: thrown.folder / name for name in there.record.files}
            asset = registry.put(replace(there.record, name=to), files)
            shutil.rmtree(_hide(thrown))
            return asset
        try:
            registry.check_free(thrown.name)
        except Conflict as taken:
            raise Conflict(taken.message, hint="give it another name with `--as NAME`") from taken
        folder = thrown.folder.rename(registry.root / thrown.name)
        failpoint("restore:moved")
    return Asset(there.record, folder)


def lain(registry: Registry, at_least: timedelta) -> list[Thrown]:
    """What has lain in the trash for so long."""
    before = datetime.now(UTC) - at_least
    return [thrown for thrown in list_trash(registry) if thrown.removed <= before]


def empty(registry: Registry, chosen: Iterable[Thrown]) -> list[Thrown]:
    """Delete these for good; returns those that were still there."""
    gone = []
    if chosen := list(chosen):
        with registry.writing():
            gone = [thrown for thrown in chosen if thrown.folder.exists()]
            for thrown in gone:
                _hide(thrown)
    for half in registry.trash.glob(f"{_HALF}*"):  # without the lock: it may take long, and nobody misses them
        shutil.rmtree(half, ignore_errors=True)
    return gone


def _wanted(registry: Registry, wanted: str) -> Thrown:
    lying = list_trash(registry)
    for thrown in lying:
        if wanted in {thrown.id, thrown.name}:
            return thrown
    hint = closest(wanted, {each.name for each in lying}, "`cav trash list` shows what is there")
    raise NotFound(f"nothing named `{wanted}` in the trash", hint=hint)


def _thrown(registry: Registry) -> Iterator[Thrown]:
    with suppress(FileNotFoundError):
        for folder in registry.trash.iterdir():
            match = _ENTRY.fullmatch(folder.name)
            with suppress(ValueError):  # a stranger whose name ends in no date
                if match is None:
                    continue
                removed = datetime.strptime(match["stamp"], "%Y%m%d-%H%M%S-%f").replace(tzinfo=UTC)
                yield Thrown(folder, match["name"], removed)


def _hide(thrown: Thrown) -> Path:
    # Half deleted, it must not be taken for whole.
    hidden = thrown.folder.rename(thrown.folder.with_name(f"{_HALF}{thrown.id}"))
    failpoint("empty:hidden")
    return hidden
