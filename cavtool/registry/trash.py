"""Removed and replaced assets, which can be restored: `<root>/../trash/<name>-<stamp>/`."""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cavtool.errors import Conflict, IntegrityFailure, NotFound, closest
from cavtool.registry.asset import Asset, load, verify
from cavtool.registry.record import RECORD, check_writable
from cavtool.registry.store import Registry
from cavtool.system.files import failpoint

_HALF = ".tmp-"  # an entry that is being deleted, or whose deletion was interrupted
_ENTRY = re.compile(r"(?P<name>[a-z0-9].*)-(?P<stamp>\d{8}-\d{6}-\d{6})")


@dataclass(frozen=True)
class TrashEntry:
    """An asset in the trash: its former name, and when it was removed (UTC)."""

    folder: Path
    name: str
    removed: datetime

    @property
    def id(self) -> str:
        """Its former name with the time of removal: unique in the trash."""
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes in its files."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())


def list_trash(registry: Registry) -> list[TrashEntry]:
    """Everything in the trash, the newest first."""
    return sorted(_entries(registry), key=lambda entry: entry.removed, reverse=True)


def restore(registry: Registry, name_or_id: str, *, to: str | None = None) -> Asset:
    """Restore the entry with this id, or the latest with this name; under the name `to`, if given.

    Raises NotFound, Conflict if the name is taken, IntegrityFailure if the record is damaged.
    """
    _find(registry, name_or_id)  # before the lock creates anything, and again when no other process can change it
    with registry.writing():
        entry = _find(registry, name_or_id)
        removed = _asset_of(entry)
        if to is not None and to != entry.name:
            return _restore_as(registry, entry, removed, to)
        try:
            registry.check_free(entry.name)
        except Conflict as taken:
            raise Conflict(taken.message, hint="give it another name with `--as NAME`") from taken
        folder = entry.folder.rename(registry.root / entry.name)
        failpoint("restore:moved")
    return Asset(removed.record, folder)


def _asset_of(entry: TrashEntry) -> Asset:
    try:
        return Asset(load(entry.folder / RECORD, entry.name), entry.folder)
    except FileNotFoundError as error:
        raise IntegrityFailure(f"`{entry.id}` has no `{RECORD}`") from error


def _restore_as(registry: Registry, entry: TrashEntry, removed: Asset, name: str) -> Asset:
    """Copy the entry to the registry, with the name in its record, then delete it."""
    verify(removed)
    check_writable(removed.record)
    asset = registry.put(
        replace(removed.record, name=name), {file: entry.folder / file for file in removed.record.files}, link=True
    )
    shutil.rmtree(_hide(entry))
    return asset


def older_than(registry: Registry, age: timedelta) -> list[TrashEntry]:
    """The entries that were removed at least `age` ago; all if that is 0, also if the clock has been set back since."""
    if not age:
        return list_trash(registry)
    before = datetime.now(UTC) - age
    return [entry for entry in list_trash(registry) if entry.removed <= before]


def empty(registry: Registry, chosen: Iterable[TrashEntry]) -> list[TrashEntry]:
    """Delete these entries permanently; returns those that still existed."""
    deleted = []
    if chosen := list(chosen):
        with registry.writing():
            deleted = [entry for entry in chosen if entry.folder.exists()]
            for entry in deleted:
                _hide(entry)
    for half in registry.trash.glob(f"{_HALF}*"):  # without the lock: it may take long, and hidden entries are unused
        shutil.rmtree(half, ignore_errors=True)
    return deleted


def _find(registry: Registry, name_or_id: str) -> TrashEntry:
    entries = list_trash(registry)
    for entry in entries:
        if name_or_id in {entry.id, entry.name}:
            return entry
    hint = closest(name_or_id, {entry.name for entry in entries}, "`cav trash list` shows what is there")
    raise NotFound(f"nothing named `{name_or_id}` in the trash", hint=hint)


def _entries(registry: Registry) -> Iterator[TrashEntry]:
    with suppress(FileNotFoundError):
        for folder in registry.trash.iterdir():
            match = _ENTRY.fullmatch(folder.name) if folder.is_dir() else None
            with suppress(ValueError):  # a folder that is not ours, whose name ends in digits that are not a date
                if match is None:
                    continue
                removed = datetime.strptime(match["stamp"], "%Y%m%d-%H%M%S-%f").replace(tzinfo=UTC)
                yield TrashEntry(folder, match["name"], removed)


def _hide(entry: TrashEntry) -> Path:
    # Renamed first: a half-deleted folder must not be an entry.
    hidden = entry.folder.rename(entry.folder.with_name(f"{_HALF}{entry.id}"))
    failpoint("empty:hidden")
    return hidden
