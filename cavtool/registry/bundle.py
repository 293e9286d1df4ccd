"""Assets as one file to hand on: a `.cav` is a zip, nothing in it compressed, of `<name>/record.toml` and its files.

The same assets always give the same bytes. What comes from others is checked before anything is kept: every entry
belongs to a record, every file has the sha256 its record says, no name leads elsewhere.
"""

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from cavtool.disk import write_atomic, writing_to
from cavtool.errors import IntegrityFailure, NotFound
from cavtool.registry.asset import Asset
from cavtool.registry.records import RECORD, Record, from_toml, to_toml
from cavtool.registry.store import Registry

SUFFIX = ".cav"
_LARGEST_RECORD = 1_000_000  # bytes
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: when it was packed is nobody's concern


def pack(registry: Registry, names: Iterable[str], path: Path) -> None:
    """Write these assets into a bundle. Raises NotFound, IntegrityFailure for damaged ones, RequirementError."""
    packed: dict[str, bytes] = {}
    for name in names:
        packed |= registry.read(name, _entries)

    def save(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as bundle:
            for entry in sorted(packed):
                bundle.writestr(zipfile.ZipInfo(entry, _MOMENT), packed[entry])

    with writing_to(path.parent):
        write_atomic(path, save)


def contents(path: Path) -> list[Record]:
    """The records in a bundle. Raises NotFound, IntegrityFailure where it is no bundle or not a whole one."""
    with _opened(path) as bundle:
        return _records(bundle)


def unpack(registry: Registry, path: Path, *, to: str | None = None, replace_it: bool = False) -> list[Asset]:
    """Keep what is in a bundle; one that holds a single asset may be kept under the name `to`.

    Raises what `contents` does, and InvalidInput or Conflict for a name, before anything is kept.
    """
    with _opened(path) as bundle, TemporaryDirectory() as folder:
        drafts = []
        for record in _records(bundle):
            if record.is_newer:
                raise IntegrityFailure(f"`{record.name}` was written by a newer `cav`", hint="upgrade this one")
            files = {name: Path(bundle.extract(f"{record.name}/{name}", folder)) for name in record.files}
            for name, file in files.items():
                with file.open("rb") as opened:
                    if hashlib.file_digest(opened, "sha256").hexdigest() != record.files[name]:
                        raise IntegrityFailure(f"`{record.name}/{name}` in `{path.name}` is not what its record says")
            drafts.append((replace(record, name=to or record.name), files))
        for draft, _ in drafts:
            registry.check_free(draft.name, replace=replace_it)
        return [registry.put(draft, files, replace=replace_it) for draft, files in drafts]


def _entries(asset: Asset) -> dict[str, bytes]:
    name, files = asset.record.name, {file: (asset.folder / file).read_bytes() for file in asset.record.files}
    for file, data in files.items():
        if hashlib.sha256(data).hexdigest() != asset.record.files[file]:
            raise IntegrityFailure(f"`{file}` of `{name}` is not what was written there")
    return {f"{name}/{RECORD}": to_toml(asset.record).encode(), **{f"{name}/{file}": files[file] for file in files}}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as bundle:
            yield bundle
    except FileNotFoundError as error:
        raise NotFound(f"no file `{path}`") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise IntegrityFailure(f"`{path.name}` is no whole bundle: {error}") from error


def _records(bundle: zipfile.ZipFile) -> list[Record]:
    entries = {entry.filename: entry for entry in bundle.infolist()}
    if any(
        entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size
        for entry in entries.values()
    ):
        raise IntegrityFailure("the bundle holds compressed files, which no `cav` writes")
    records = []
    for name, entry in entries.items():
        if PurePosixPath(name).name == RECORD and entry.file_size <= _LARGEST_RECORD:
            records.append(_record(bundle.read(entry)))
    belonging = {f"{record.name}/{file}" for record in records for file in (RECORD, *record.files)}
    if not records or belonging != entries.keys() or len(entries) != len(bundle.infolist()):
        raise IntegrityFailure("the bundle does not hold what its records say")
    return sorted(records, key=lambda record: record.name)


def _record(data: bytes) -> Record:
    try:
        return from_toml(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise IntegrityFailure(f"a record in the bundle is no text: {error}") from error
