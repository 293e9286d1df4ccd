"""The registry: one folder per asset, complete at every moment, even if a process is killed while it writes.

    <root>/<name>/           record.toml, weights.safetensors, reference.mp4, …
    <root>/.tmp-<name>/      being written, not an asset yet
    <root>/.new-<name>/      complete and on disk, about to become <name>
    <root>/../trash/         removed and replaced assets, as <name>-<stamp>
    <root>/../quarantine/    damaged assets that `verify --repair` moved away, as <name>-<stamp>

Writers hold the lock `<root>/.lock`; readers hold none. A write has four atomic steps:

    1  fill .tmp-<name> and fsync it     2  rename it to .new-<name>
    3  move an older <name> to the trash  4  rename .new-<name> to <name>

A reader takes <name>, or .new-<name> if there is no <name>, and tries again if it missed both (between steps 3 and 4,
some microseconds). So an existing name is found at any moment, even after a killed writer, and the asset found is
complete: the old one until step 3, then the new one (a new name exists from step 2 on). The next writer cleans up
after a killed one: it deletes every .tmp-, and a .new- whose <name> still exists (step 3 never came), and does step 4
for any other .new-.

A rename cannot keep a reader that opens several files from getting one of the old asset and one of the new.
`Registry.read` can: it reads again if the asset was replaced meanwhile.
"""

import builtins
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cavtool.errors import Conflict, IntegrityFailure, NotFound, closest
from cavtool.names import check_name, is_name
from cavtool.registry.asset import Asset, copy_file, link_file, load, verify
from cavtool.registry.record import RECORD, WEIGHTS, Kind, Record, check_writable, from_toml, to_toml
from cavtool.system.files import failpoint, make_folder, sync, write_atomic, writing_to

if TYPE_CHECKING:  # `cav list` needs no recipes
    from cavtool.recipes import LearnRecipe

KINDS: tuple[Kind, Kind] = ("motion", "absorber")  # the assets that a training adds, in this order
_TMP, _NEW = ".tmp-", ".new-"
_LISTED = "`cav list` shows what there is"
_TRIES = 50  # of a reader: one or two are enough unless a writer replaces the asset without pause
_SETTLED = 100_000_000  # nanoseconds after which a later change gives a folder another modification time
_PATIENCE = 120.0  # seconds to wait for other writers, each of which takes less than one

_T = TypeVar("_T")


class Registry:
    """The motions and absorbers in the folder `root`, and those in `shared` folders, which are only read.

    An asset in an earlier folder hides those of the same name in later ones. `on_wait` receives one message if a writer
    has to wait for another process.
    """

    def __init__(
        self,
        root: Path,
        *,
        shared: Sequence[Path] = (),
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.root = root
        self.shared = tuple(place for place in shared if place != root)
        self.trash = self.root.parent / "trash"
        self.quarantine = self.root.parent / "quarantine"
        self._on_wait = on_wait

    def names(self) -> builtins.list[str]:
        """Every name in use, sorted; no record is read."""
        return sorted({name for place in (self.root, *self.shared) for name in _names_in(place)})

    def own_names(self) -> builtins.list[str]:
        """The names that are not shared, sorted."""
        return sorted(_names_in(self.root))

    def hidden(self) -> builtins.list[tuple[str, Path]]:
        """Names that an earlier folder hides in a shared one, with that folder."""
        seen, twice = _names_in(self.root), []
        for place in self.shared:
            there = _names_in(place)
            twice += [(name, place) for name in sorted(there & seen)]
            seen |= there
        return twice

    def scan(self) -> Iterator[tuple[str, Asset | IntegrityFailure]]:
        """Every name in use with its asset or the reason why its record cannot be read, sorted."""
        for name in self.names():
            try:
                if asset := self._find(name):
                    yield name, asset
            except IntegrityFailure as failure:
                yield name, failure

    def list(self, kind: Kind | None = None) -> builtins.list[Asset]:
        """Every asset, or those of one kind, by name; unreadable ones are left out (see `broken`)."""
        assets = [found for _, found in self.scan() if isinstance(found, Asset)]
        return [asset for asset in assets if kind in (None, asset.record.kind)]

    def broken(self) -> builtins.list[tuple[str, IntegrityFailure]]:
        """The names whose record cannot be read, and why."""
        return [(name, found) for name, found in self.scan() if isinstance(found, IntegrityFailure)]

    def get(self, name: str, kind: Kind | None = None) -> Asset:
        """The asset with this name. Raises NotFound if none of this kind has it, IntegrityFailure if it is damaged."""
        asset = self._find(name)
        if asset is None:
            known = self.names() if kind is None else [asset.record.name for asset in self.list(kind)]
            raise NotFound(f"no {kind or 'motion or absorber'} named `{name}`", hint=closest(name, known, _LISTED))
        if kind not in (None, asset.record.kind):
            raise NotFound(
                f"no {kind} named `{name}`",
                hint=f"`{name}` is {'an absorber' if asset.record.kind == 'absorber' else 'a motion'}",
            )
        return asset

    def read(self, name: str, use: Callable[[Asset], _T], kind: Kind | None = None) -> _T:
        """Return `use(asset)` for an asset whose files are all of one version; repeated if it is replaced meanwhile.

        Raises what `get` and `use` raise, and Conflict if the asset keeps changing while being read.
        """
        for _ in range(_TRIES):
            asset = self.get(name, kind)
            try:
                result = use(asset)
            except Exception:  # a mix of two versions may raise anything
                if self._find(name) == asset:
                    raise
            else:
                if self._find(name) == asset:
                    return result
        raise Conflict(f"`{name}` keeps changing while being read")

    def verify(self, name: str) -> None:
        """Compare every file with its sha256 in the record. Raises IntegrityFailure for the first that differs."""
        self.read(name, verify)

    def check_free(self, name: str, kind: Kind | None = None, *, replace: bool = False) -> None:
        """Raise InvalidInput for an invalid name, Conflict if it is taken; with `replace`, only if by another kind."""
        if not self._is_taken(check_name(name)):
            return
        if not replace:
            raise Conflict(f"`{name}` already exists", hint="choose another name, or pass `--force` to replace it")
        with suppress(IntegrityFailure):  # a damaged asset may be replaced by either kind
            if kind and (there := _find_in(self.root, name)) and there.record.kind != kind:
                hint = f"choose another name, or `cav rm {name}` first"
                raise Conflict(f"`{name}` is an existing {there.record.kind}, which no {kind} can replace", hint=hint)

    def check_leaves(self, recipe: "LearnRecipe", name: str, *, replace: bool = False) -> None:
        """Raise what `check_free` raises, for the motion `name` and for the absorber trained with it."""
        for each, kind in zip(recipe.leaves(name), KINDS, strict=False):
            self.check_free(each, kind, replace=replace)

    def check_there(self, name: str) -> None:
        """Raise NotFound if the name does not exist, Conflict if it is shared; a damaged asset passes."""
        if is_name(name) and self._is_taken(name):
            return
        for place in self.shared:
            if name in _names_in(place):
                hint = f"`cav cp {name} NEW-NAME` makes a copy of your own"
                raise Conflict(f"`{name}` is shared, in `{place}`, and cannot be changed", hint=hint)
        raise NotFound(f"no motion or absorber named `{name}`", hint=closest(name, self.names(), _LISTED))

    def check_writable(self) -> None:
        """Raise RequirementError if nothing can be put into the registry."""
        with self.writing():
            make_folder(self.root)

    def put(self, draft: Record, files: Mapping[str, Path], *, replace: bool = False, link: bool = False) -> Asset:
        """Add an asset: copies of `files` (name in the asset → source; the weights among them) under the draft's name.

        With `replace` an older asset of that name and kind goes to the trash; `link` takes no space for files that are
        on the same disk. Raises Conflict for a taken name, InvalidInput for an invalid one, IntegrityFailure for a
        record that could not be read again, RequirementError if the disk refuses; the registry is then unchanged.
        """
        name = check_name(draft.name)
        with self.writing():
            self.check_free(name, draft.kind, replace=replace)
            record = self._stage(draft, files, link=link)
            self._bring_in(name)
        return Asset(record, self.root / name)

    def copy(self, name: str, to: str, *, replace: bool = False) -> Asset:
        """Copy an asset to another name. Raises what `put` does, NotFound, and IntegrityFailure if it is damaged."""
        with self.writing():
            return self._copy(name, to, replace_it=replace, created="")

    def rename(self, name: str, to: str, *, replace: bool = False) -> Asset:
        """Rename an asset. Raises what `copy` does. If it is killed midway, the asset has both names."""
        with self.writing():
            created = self._writable(name).record.created
            asset = self._copy(name, to, replace_it=replace, created=created, link=True)
            self._drop(name, "rename:dropped")
            self._sync()
        return asset

    def annotate(
        self, name: str, *, add: Iterable[str] = (), remove: Iterable[str] = (), note: str | None = None
    ) -> Asset:
        """Add tags to an asset, remove some, set its note. Raises NotFound, Conflict if shared, IntegrityFailure."""
        with self.writing():
            asset = self._writable(name)
            tags = tuple(sorted({*asset.record.tags, *add} - {*remove}))
            record = replace(asset.record, tags=tags, note=asset.record.note if note is None else note)
            write_atomic(asset.folder / RECORD, lambda path: _write(record, path))
        return Asset(record, asset.folder)

    def remove(self, name: str) -> None:
        """Move an asset, readable or not, to the trash. Raises NotFound, Conflict if it is shared."""
        with self.writing():
            self.check_there(name)
            self._discard(name)
            self._sync()

    def set_aside(self, name: str) -> Path:
        """Move an asset, or any other entry of that name, to the quarantine; returns the new path."""
        with self.writing():
            if is_name(name):
                self.check_there(name)
            moved = self._move(name, self.quarantine)
            self._sync()
        return moved

    def _writable(self, name: str) -> Asset:
        self.check_there(name)
        asset = self.get(name)
        check_writable(asset.record)
        return asset

    def _copy(self, name: str, to: str, *, replace_it: bool, created: str, link: bool = False) -> Asset:
        asset = self.get(name)
        check_writable(asset.record)
        if to == name:
            raise Conflict(f"`{name}` is its present name", hint="choose another name")
        self.check_free(to, asset.record.kind, replace=replace_it)
        verify(asset)
        draft = replace(asset.record, name=to, created=created)
        record = self._stage(draft, {file: asset.folder / file for file in asset.record.files}, link=link)
        self._bring_in(to)
        return Asset(record, self.root / to)

    def _is_taken(self, name: str) -> bool:
        return _is_taken(self.root, name)

    def _find(self, name: str) -> Asset | None:
        if not is_name(name):
            return None
        for place in (self.root, *self.shared):
            if asset := _find_in(place, name):
                return asset
        return None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock, reentrant; cleans up after killed writers, and after this one if it fails."""
        with writing_to(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with self._lock():
                self._recover()
                try:
                    yield
                except BaseException:
                    self._recover()
                    raise

    def _lock(self) -> AbstractContextManager[object]:
        from filelock import FileLock, Timeout  # 50 ms that readers do not need

        lock = FileLock(self.root / ".lock", is_singleton=True)
        with suppress(Timeout):
            return lock.acquire(timeout=0)
        if self._on_wait is not None:
            self._on_wait("waiting for another process to finish with the registry")
        try:
            return lock.acquire(timeout=_PATIENCE)
        except Timeout:
            raise Conflict("the registry is in use by another process", hint="try again when that is done") from None

    def _recover(self) -> None:
        for entry in list(self.root.iterdir()):
            if entry.name.startswith(_TMP):
                shutil.rmtree(entry)
            elif entry.name.startswith(_NEW):
                self._settle(entry.name.removeprefix(_NEW))

    def _settle(self, name: str) -> None:
        pending = self.root / f"{_NEW}{name}"
        if (self.root / name).exists():
            self._drop(pending.name, "recover:undone")
        else:
            pending.rename(self.root / name)
            failpoint("recover:redone")

    def _drop(self, entry: str, label: str) -> None:
        # Renamed first: a half-deleted folder must not be an asset.
        dropped = (self.root / entry).rename(self.root / f"{_TMP}{entry}")
        failpoint(label)
        shutil.rmtree(dropped)

    def _stage(self, draft: Record, files: Mapping[str, Path], *, link: bool = False) -> Record:
        folder = self.root / f"{_TMP}{draft.name}"
        folder.mkdir()
        failpoint("put:begun")
        hashes = {}
        for name, source in files.items():
            hashes[name] = (link_file if link else copy_file)(source, folder / name)
            failpoint(f"put:copied {name}")
        created = draft.created or datetime.now(UTC).isoformat(timespec="seconds")
        record = replace(draft, content_id=hashes[WEIGHTS], files=hashes, created=created)
        from_toml(to_toml(record))  # raises for values that cannot be read again, such as NaN
        _write(record, folder / RECORD)
        failpoint("put:recorded")
        sync(folder / RECORD)
        sync(folder)
        failpoint("put:staged")
        return record

    def _bring_in(self, name: str) -> None:
        pending = (self.root / f"{_TMP}{name}").rename(self.root / f"{_NEW}{name}")
        failpoint("put:pending")
        sync(self.root)
        if (self.root / name).exists():
            self._discard(name)
        pending.rename(self.root / name)
        failpoint("put:named")
        self._sync()

    def _discard(self, name: str) -> None:
        self._move(name, self.trash)
        failpoint("discard:moved")

    def _move(self, name: str, away: Path) -> Path:
        away.mkdir(exist_ok=True)
        moment = datetime.now(UTC)
        while (target := away / f"{name}-{moment:%Y%m%d-%H%M%S-%f}").exists():  # the clock was set back
            moment += timedelta(microseconds=1)
        return (self.root / name).rename(target)

    def _sync(self) -> None:
        for folder in (self.trash, self.quarantine, self.root):
            if folder.exists():
                sync(folder)


def _find_in(place: Path, name: str) -> Asset | None:
    is_there = False
    for _ in range(_TRIES):
        before = _changed(place)
        for prefix in ("", _NEW):
            folder = place / f"{prefix}{name}"
            with suppress(FileNotFoundError, NotADirectoryError):
                return Asset(load(folder / RECORD, name), folder)
        if _changed(place) != before or time.time_ns() - before <= _SETTLED:  # an entry may have been missed
            continue
        if is_there:
            break
        if not (is_there := _is_taken(place, name)):  # else it may have been created after the first attempt
            return None
    if _is_taken(place, name):
        raise IntegrityFailure(f"`{name}` has no `{RECORD}`")
    return None


def _changed(place: Path) -> int:
    """When an entry of a folder last changed, in nanoseconds; 0 if there is no folder."""
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0


def _names_in(place: Path) -> set[str]:
    found: set[str] = set()
    with suppress(OSError):  # no such folder, or not readable
        for _ in range(3):
            before = place.stat().st_mtime_ns
            with os.scandir(place) as entries:
                found |= {entry.name.removeprefix(_NEW) for entry in entries if entry.is_dir()}
            # While a folder changes, a scan of many entries may miss one that is being renamed.
            if place.stat().st_mtime_ns == before:
                break
    return set(filter(is_name, found))


def _is_taken(place: Path, name: str) -> bool:
    return (place / name).exists() or (place / f"{_NEW}{name}").exists()


def _write(record: Record, path: Path) -> None:
    path.write_text(to_toml(record), encoding="utf-8", newline="\n")
