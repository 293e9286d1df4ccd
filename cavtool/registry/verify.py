"""Compare a registry with its records: damaged assets, unexpected files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cavtool.errors import IntegrityFailure, NotFound
from cavtool.names import is_name
from cavtool.registry.asset import Asset, verify
from cavtool.registry.record import RECORD
from cavtool.registry.store import Registry


@dataclass(frozen=True)
class Finding:
    """A problem with an entry of the registry; a `usable` entry is an intact asset."""

    name: str
    problem: str
    usable: bool


def check(registry: Registry, names: Iterable[str]) -> Iterator[Finding]:
    """Compare every file of these assets with its sha256, and report files that do not belong to them.

    An asset that is removed meanwhile is skipped. Raises NotFound for a name that did not exist at the start.
    """
    existing = set(registry.names())
    for name in names:
        try:
            unexpected = registry.read(name, _unexpected_files)
        except IntegrityFailure as failure:
            yield Finding(name, failure.message, usable=False)
        except NotFound:
            if name not in existing:
                raise
        else:
            yield from (Finding(name, f"unexpected file `{file}` in `{name}`", usable=True) for file in unexpected)


def _unexpected_files(asset: Asset) -> list[str]:
    verify(asset)
    return sorted({path.name for path in asset.folder.iterdir()} - {RECORD, *asset.record.files})


def set_aside(registry: Registry, name: str) -> Path | None:
    """Move a damaged asset, or an entry that is not an asset, to the quarantine; None if it is gone or intact."""
    with registry.writing():
        try:
            if is_name(name):
                registry.verify(name)
                return None
        except IntegrityFailure:
            pass
        except NotFound:
            return None
        return registry.set_aside(name)


def strays(registry: Registry) -> list[Finding]:
    """Entries in the registry's folder that are not assets; hidden ones are the registry's own."""
    if not registry.root.exists():
        return []
    names = sorted(path.name for path in registry.root.iterdir() if not path.name.startswith("."))
    return [
        Finding(name, f"`{name}` is not an asset", usable=False)
        for name in names
        if not (is_name(name) and (registry.root / name).is_dir())
    ]
