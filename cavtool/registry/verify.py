"""Compare the files of a registry with their checksums, and move damaged assets to a quarantine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cavtool.errors import CavError, Conflict, IntegrityFailure, NotFound
from cavtool.names import is_name
from cavtool.registry.asset import Asset, verify
from cavtool.registry.record import RECORD
from cavtool.registry.store import Registry


@dataclass(frozen=True)
class Finding:
    """A problem with an entry of the registry; `usable` is False if the entry is damaged."""

    name: str
    problem: str
    usable: bool


@dataclass(frozen=True)
class Report:
    """The result of `verify_assets`; `moved` maps damaged entries to their place in the quarantine.

    `errors` say why other entries could not be moved. `damaged` contains both.
    """

    checked: list[str]
    findings: list[Finding]
    damaged: set[str]
    intact: int
    moved: dict[str, Path]
    errors: list[CavError]

    @property
    def remaining(self) -> set[str]:
        """Damaged entries that are still in the registry."""
        return self.damaged - self.moved.keys()


def verify_assets(registry: Registry, names: list[str] | None = None, *, repair: bool = False) -> Report:
    """Check these assets, by default everything in the user's own folder; `repair` moves damaged entries.

    Raises NotFound for an unknown name.
    """
    checked = registry.own_names() if names is None else names
    findings = [*check(registry, checked), *(unexpected_entries(registry) if names is None else ())]
    damaged = {finding.name for finding in findings if not finding.usable}
    moved: dict[str, Path] = {}
    errors: list[CavError] = []
    for name in sorted(damaged) if repair else ():
        try:
            target = quarantine(registry, name)
        except CavError as error:
            errors.append(error)
            continue
        if target:
            moved[name] = target
        else:
            damaged.remove(name)
    # An asset that has been removed since counts neither as intact nor as damaged.
    intact = len(set(checked) & (set(registry.names()) - damaged))
    return Report(checked, findings, damaged, intact, moved, errors)


def check(registry: Registry, names: Iterable[str]) -> Iterator[Finding]:
    """Compare every file of these assets with its sha256, and look for unexpected files.

    Skips assets that another process removes meanwhile. Raises NotFound for a name that never existed.
    """
    existing = set(registry.names())
    for name in names:
        try:
            unexpected = registry.read(name, _unexpected_files)
        except IntegrityFailure as failure:
            yield Finding(name, failure.message, usable=False)
        except Conflict as failure:
            yield Finding(name, failure.message, usable=True)
        except NotFound:
            if name not in existing:
                raise
        else:
            yield from (Finding(name, f"unexpected file `{file}` in `{name}`", usable=True) for file in unexpected)


def _unexpected_files(asset: Asset) -> list[str]:
    verify(asset)
    return sorted({path.name for path in asset.folder.iterdir()} - {RECORD, *asset.record.files})


def unexpected_entries(registry: Registry) -> list[Finding]:
    """Entries of the registry's folder that are not assets; hidden entries belong to the registry."""
    if not registry.root.exists():
        return []
    names = sorted(path.name for path in registry.root.iterdir() if not path.name.startswith("."))
    return [
        Finding(name, f"`{name}` is not an asset", usable=False)
        for name in names
        if not (is_name(name) and (registry.root / name).is_dir())
    ]


def quarantine(registry: Registry, name: str) -> Path | None:
    """Move a damaged or unexpected entry to the quarantine; returns its new path.

    Returns None if it has been removed or repaired meanwhile. Raises Conflict if it is shared.
    """
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
