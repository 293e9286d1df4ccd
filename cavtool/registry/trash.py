"""What was removed from a registry or replaced in it, and the way back: `<root>/../trash/<name>-<stamp>/`."""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cavtool.disk import failpoint
from cavtool.errors import Conflict, NotFound, closest
from cavtool.registry.asset import Asset, load, verify
from cavtool.registry.records import RECORD, check_ours
from cavtool.registry.store import Registry

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
    with registry.writing():
        lying = list_trash(registry)
        thrown = next((thrown for thrown in lying if wanted in {thrown.id, thrown.name}), None)
        if thrown is None:
            names = {each.name for each in lying}
            raise NotFound(f"nothing named `{wanted}` in the trash", hint=closest(wanted, names))
        there = Asset(load(thrown.folder / RECORD, thrown.name), thrown.folder)
        if to not in (None, thrown.name):
            verify(there)
            check_ours(there.record)
            files = {name: thrown.folder / name for name in there.record.files}
            asset = registry.put(replace(there.record, name=to), files)
            _delete(thrown)
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


def empty(registry: Registry, *, older_than: timedelta = timedelta(0)) -> list[Thrown]:
    """Delete what has lain in the trash for so long, for good; returns what was deleted."""
    with registry.writing():
        for half in registry.trash.glob(f"{_HALF}*"):
            shutil.rmtree(half, ignore_errors=True)
        gone = lain(registry, older_than)
        for thrown in gone:
            _delete(thrown)
    return gone


def _thrown(registry: Registry) -> Iterator[Thrown]:
    with suppress(FileNotFoundError):
        for folder in registry.trash.iterdir():
            match = _ENTRY.fullmatch(folder.name)
            with suppress(ValueError):  # a stranger whose name ends in no date
                if match is None:
                    continue
                removed = datetime.strptime(match["stamp"], "%Y%m%d-%H%M%S-%f").replace(tzinfo=UTC)
                yield Thrown(folder, match["name"], removed)


def _delete(thrown: Thrown) -> None:
    # Hidden first: half deleted, it must not be taken for whole.
    dropped = thrown.folder.rename(thrown.folder.with_name(f"{_HALF}{thrown.id}"))
    failpoint("empty:hidden")
    shutil.rmtree(dropped)
