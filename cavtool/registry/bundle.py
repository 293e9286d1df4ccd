"""Assets as one file to share: a `.cav` is an uncompressed zip of `<name>/record.toml` and the files of each asset.

The same assets always give the same bytes. A bundle is untrusted input, checked before anything is imported: every
entry belongs to a record, every file has the sha256 in its record, no path leaves the asset's folder.
"""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from cavtool.errors import CavError, IntegrityFailure, InvalidInput, NotFound
from cavtool.names import check_name
from cavtool.registry.asset import Asset, verify
from cavtool.registry.record import RECORD, WEIGHTS, Record, check_writable, from_toml
from cavtool.registry.store import Registry
from cavtool.system.files import check_output, output_file, write_atomic, writing_to

SUFFIX = ".cav"
_FILES = {WEIGHTS, "reference.mp4", "preview.mp4"}
_LARGEST_RECORD = 1_000_000  # bytes
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip: the date of packing is not recorded


def bundle_path(names: Sequence[str], output: Path | None, *, overwrite: bool = False) -> Path:
    """The file for a bundle of these assets: `output`, or `NAME.cav` in that folder or in the current one.

    Raises InvalidInput if several assets have no `output`, and what `output_file` and `check_output` raise.
    """
    if output is None and len(names) > 1:
        raise InvalidInput("a file of several motions or absorbers needs a name", hint=f"add `-o NAME{SUFFIX}`")
    path = output_file(output, f"{names[0]}{SUFFIX}", (SUFFIX,))
    check_output(path, overwrite=overwrite)
    return path


def pack(registry: Registry, names: Iterable[str], path: Path) -> None:
    """Write these assets into a bundle. Raises NotFound, IntegrityFailure for a damaged asset, RequirementError."""
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
    """Import the assets of a bundle; a single asset can be imported under the name `to`.

    Raises NotFound, IntegrityFailure if the file is not a complete bundle, and InvalidInput or Conflict for a name, all
    before anything is imported.
    """
    with _opened(path) as bundle, TemporaryDirectory() as folder:
        drafts, records = [], _records(bundle)
        if to is not None and len(records) > 1:
            raise InvalidInput(f"`{path.name}` contains {len(records)} motions or absorbers, `--as` names only one")
        for record in records:
            check_writable(record)
            files = {name: Path(bundle.extract(f"{record.name}/{name}", folder)) for name in record.files}
            verify(Asset(record, Path(folder, record.name)))
            name = record.name if to is None else check_name(to)
            drafts.append((replace(record, name=name, origin="imported"), files))
        for draft, _ in drafts:
            registry.check_free(draft.name, draft.kind, replace=replace_it)
        return [registry.put(draft, files, replace=replace_it) for draft, files in drafts]


def _entries(asset: Asset) -> dict[str, bytes]:
    verify(asset)
    return {f"{asset.record.name}/{file}": (asset.folder / file).read_bytes() for file in (RECORD, *asset.record.files)}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if path.exists() and not path.is_file():
        raise IntegrityFailure(f"`{path}` is not a regular file", hint="name a file that `cav export` wrote")
    try:
        with zipfile.ZipFile(path) as bundle:
            yield bundle
    except CavError:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"no such file: `{path}`", hint="name a file that `cav export` wrote") from error
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError) as error:
        raise IntegrityFailure(f"`{path.name}` is not a complete .cav file: {error}") from error


def _records(bundle: zipfile.ZipFile) -> list[Record]:
    entries = {entry.filename: entry for entry in bundle.infolist()}
    if any(
        entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size
        for entry in entries.values()
    ):
        raise IntegrityFailure(f"`{bundle.filename}` holds compressed files, which `cav export` never writes")
    records = []
    for name, entry in entries.items():
        if PurePosixPath(name).name == RECORD and entry.file_size <= _LARGEST_RECORD:
            records.append(_record(bundle.read(entry)))
    if any(record.files.keys() - _FILES for record in records):
        raise IntegrityFailure(f"`{bundle.filename}` holds unexpected files")
    belonging = {f"{record.name}/{file}" for record in records for file in (RECORD, *record.files)}
    if not records or belonging != entries.keys() or len(entries) != len(bundle.infolist()):
        raise IntegrityFailure(f"the files in `{bundle.filename}` do not match its records")
    return sorted(records, key=lambda record: record.name)


def _record(data: bytes) -> Record:
    try:
        return from_toml(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise IntegrityFailure(f"a record in the .cav file is not UTF-8 text: {error}") from error
