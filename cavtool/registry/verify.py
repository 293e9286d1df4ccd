"""Whether everything in a registry is what was put there."""

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
    """Something that is not as it should be: in which entry of the registry, what, and whether that can be used."""

    name: str
    problem: str
    usable: bool


def check(registry: Registry, names: Iterable[str]) -> Iterator[Finding]:
    """Read every file of these assets and compare it with its sha256; tell what lies there and is not theirs.

    What somebody removes meanwhile is passed over. Raises NotFound for a name that was never there.
    """
    there = set(registry.names())
    for name in names:
        try:
            strangers = registry.read(name, _strangers)
        except IntegrityFailure as failure:
            yield Finding(name, failure.message, usable=False)
        except NotFound:
            if name not in there:
                raise
        else:
            yield from (Finding(name, f"`{stranger}` is none of its files", usable=True) for stranger in strangers)


def _strangers(asset: Asset) -> list[str]:
    verify(asset)
    return sorted({path.name for path in asset.folder.iterdir()} - {RECORD, *asset.record.files})


def set_aside(registry: Registry, name: str) -> Path | None:
    """Move what is damaged, or no asset, to the quarantine; None where it is gone or whole by now."""
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
    """What lies in the registry's folder and is no asset; hidden entries are the registry's own."""
    if not registry.root.exists():
        return []
    names = sorted(path.name for path in registry.root.iterdir() if not path.name.startswith("."))
    return [
        Finding(name, f"`{name}` is no asset", usable=False)
        for name in names
        if not (is_name(name) and (registry.root / name).is_dir())
    ]
