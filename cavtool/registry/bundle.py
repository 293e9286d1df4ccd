"""Assets as one file to hand on: a `.cav` is a zip, nothing in it compressed, of `<name>/record.toml` and its files.

The same assets always give the same bytes. What comes from others is checked before anything is kept: every entry
belongs to a record, every file has the sha256 its record says, no name leads elsewhere.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from cavtool.errors import CavError, Conflict, IntegrityFailure, InvalidInput, NotFound
from cavtool.registry.asset import Asset, verify
from cavtool.registry.record import RECORD, WEIGHTS, Record, check_ours, from_toml
from cavtool.registry.store import Registry
from cavtool.system.files import write_atomic, writing_to

SUFFIX = ".cav"
_FILES = {WEIGHTS, "reference.mp4", "preview.mp4"}
_LARGEST_RECORD = 1_000_000  # bytes
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: when it was packed is nobody's concern


def bundle_path(names: Sequence[str], output: Path | None, *, replace: bool = False) -> Path:
    """The file for a bundle of these assets: `output`, or `NAME.cav` in that folder or in the current one.

    Raises InvalidInput if several assets have no `output`, Conflict if the file exists and `replace` is not set.
    """
    if output is None and len(names) > 1:
        raise InvalidInput("a file of several motions or absorbers needs a name", hint=f"add `-o NAME{SUFFIX}`")
    path = output or Path()
    if path.is_dir():
        path /= f"{names[0]}{SUFFIX}"
    if path.exists() and not replace:
        raise Conflict(f"`{path}` exists already", hint="choose another file with `-o`, or add `--replace`")
    return path


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


def unpack(registry: Registry, path: Path, *, to: str | None = None, replace_it: bool = False) -> list[Asset]:
    """Add the assets of a bundle to the registry; a single asset may get another name, `to`.

    Raises NotFound, IntegrityFailure for a file that is not a complete bundle, and InvalidInput or Conflict for a name,
    all before anything is added.
    """
    with _opened(path) as bundle, TemporaryDirectory() as folder:
        drafts, records = [], _records(bundle)
        if to and len(records) > 1:
            raise InvalidInput(f"`{path.name}` contains {len(records)} motions or absorbers, `--as` names only one")
        for record in records:
            check_ours(record)
            files = {name: Path(bundle.extract(f"{record.name}/{name}", folder)) for name in record.files}
            verify(Asset(record, Path(folder, record.name)))
            _check_weights(files[WEIGHTS], record.name)
            drafts.append((replace(record, name=to or record.name, origin="imported"), files))
        for draft, _ in drafts:
            registry.check_free(draft.name, replace=replace_it)
        return [registry.put(draft, files, replace=replace_it) for draft, files in drafts]


def _entries(asset: Asset) -> dict[str, bytes]:
    verify(asset)
    return {f"{asset.record.name}/{file}": (asset.folder / file).read_bytes() for file in (RECORD, *asset.record.files)}


def _check_weights(path: Path, name: str) -> None:
    """Raise IntegrityFailure for what does not begin as the safetensors spec says: 8 bytes of length, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length)) if length < path.stat().st_size else None
        except ValueError:
            header = None
    if not isinstance(header, dict):
        raise IntegrityFailure(f"the weights of `{name}` are no safetensors file")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as bundle:
            yield bundle
    except CavError:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"no file `{path}`") from error
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError) as error:
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
    if any(record.files.keys() - _FILES for record in records):
        raise IntegrityFailure("the bundle holds files that are none of an asset's")
    belonging = {f"{record.name}/{file}" for record in records for file in (RECORD, *record.files)}
    if not records or belonging != entries.keys() or len(entries) != len(bundle.infolist()):
        raise IntegrityFailure("the bundle does not hold what its records say")
    return sorted(records, key=lambda record: record.name)


def _record(data: bytes) -> Record:
    try:
        return from_toml(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise IntegrityFailure(f"a record in the bundle is no text: {error}") from error
