"""One asset on disk: its folder, its record, its files."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cavtool.errors import IntegrityFailure
from cavtool.registry.record import WEIGHTS, Record, from_toml
from cavtool.system.files import open_regular, read_text


@dataclass(frozen=True)
class Asset:
    """A motion or an absorber: its record and its folder."""

    record: Record
    folder: Path

    @property
    def weights(self) -> Path:
        """The weights; every asset has them."""
        return self.folder / WEIGHTS

    @property
    def reference(self) -> Path:
        """The clip it was learned from, if kept."""
        return self.folder / "reference.mp4"

    @property
    def preview(self) -> Path:
        """A first result, if kept."""
        return self.folder / "preview.mp4"

    def read_weights(self) -> bytes:
        """The bytes of the weights. Raises IntegrityFailure unless their checksum is that of the record."""
        import hashlib  # 3 ms that a list does not need

        with open_regular(self.weights) as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != self.record.content_id:
            hint = "learn or import it again with `--force`"
            raise IntegrityFailure(f"the weights of `{self.record.name}` are damaged", hint=hint)
        return data

    @property
    def size(self) -> int:
        """Bytes in its files; a missing file counts as 0."""
        total = 0
        for name in self.record.files:
            with suppress(FileNotFoundError):
                total += (self.folder / name).stat().st_size
        return total


def load(path: Path, name: str) -> Record:
    """The record in the file `path`. Raises FileNotFoundError, and IntegrityFailure unless it is a record of `name`."""
    try:
        record = from_toml(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IntegrityFailure(f"the record of `{name}` cannot be read: {reason}") from error
    except IntegrityFailure as failure:
        raise IntegrityFailure(f"`{name}`: {failure.message}", hint=failure.hint) from failure
    if record.name != name:
        raise IntegrityFailure(f"`{name}` holds the record of `{record.name}`", hint="rename its folder back")
    return record


def verify(asset: Asset) -> None:
    """Compare every file with its sha256 in the record, and check the weights.

    Raises IntegrityFailure for the first file that differs, and for weights that no model can use.
    """
    import hashlib

    from cavtool.registry.weights import check_weights

    for name, expected in asset.record.files.items():
        try:
            with open_regular(asset.folder / name) as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise IntegrityFailure(f"`{name}` of `{asset.record.name}` cannot be read: {error.strerror}") from error
        if actual != expected:
            raise IntegrityFailure(f"`{name}` of `{asset.record.name}` does not match its checksum")
    check_weights(asset.weights, asset.record.name, asset.record.kind)


def copy_file(source: Path, target: Path) -> str:
    """Copy a file, wait until it is on the disk, and return its sha256."""
    import hashlib

    digest = hashlib.sha256()
    with open_regular(source) as reader, target.open("xb") as writer:
        while chunk := reader.read(1 << 20):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def link_file(source: Path, target: Path) -> str:
    """Give a file, which must be on the disk, a second name, and return its sha256; a copy if the disk refuses."""
    import hashlib

    try:
        target.hardlink_to(source)
    except OSError:
        return copy_file(source, target)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
