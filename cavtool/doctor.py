"""Checks of this machine and this home, with their findings and remedies."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from cavtool._version import __version__
from cavtool.errors import CavError
from cavtool.models import CATALOGUE
from cavtool.registry.trash import list_trash
from cavtool.settings import SETTINGS
from cavtool.workspace import Workspace

State = Literal["ok", "warning", "broken"]

_LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "ffmpeg-python")
_LITTLE_MEMORY, _LITTLE_DISK = 4e9, 2e9  # bytes
_MUCH_TRASH = 1e9


@dataclass(frozen=True)
class Finding:
    """The result of one check; `remedy` says how to fix it."""

    what: str
    state: State
    found: str
    remedy: str = ""


def examine(workspace: Workspace | None = None) -> Iterator[Finding]:
    """Check everything, the quickest first. A check that fails is reported as a finding."""
    workspace = workspace or Workspace()
    for check in (_versions, _settings, _disk, _memory, _registry, _runs, _models, _ffmpeg, _torch):
        try:
            yield from check(workspace)
        except CavError as error:
            yield Finding(check.__name__.lstrip("_"), "broken", error.message, error.hint or "")
        except Exception as error:  # noqa: BLE001 a broken part may raise anything, and the others are still checked
            yield Finding(check.__name__.lstrip("_"), "broken", f"{type(error).__name__}: {error}")


def _versions(_: Workspace) -> Iterator[Finding]:
    yield Finding("cav", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
    missing = [name for name in _LIBRARIES if _version(name) is None]
    installed = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES if name not in missing)
    yield Finding("libraries", "ok", installed)
    if missing:
        yield Finding("libraries", "broken", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _settings(workspace: Workspace) -> Iterator[Finding]:
    settings = workspace.settings
    for key in SETTINGS:
        settings.get(key)
    unknown = settings.unknown_keys()
    if unknown:
        yield Finding("settings", "warning", f"unknown: {', '.join(unknown)}", "`cav config edit`")
    else:
        yield Finding("settings", "ok", str(settings.file))


def _disk(workspace: Workspace) -> Iterator[Finding]:
    for what, place in (("data", workspace.places.data), ("state", workspace.places.state)):
        existing = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        found = f"{free / 1e9:.1f} GB free at {place}"
        if not os.access(existing, os.W_OK):
            yield Finding(what, "broken", f"cannot write to {existing}", "set `CAV_HOME` to a writable folder")
        elif free < _LITTLE_DISK:
            yield Finding(what, "warning", found, "`cav prune`, `cav trash empty`")
        else:
            yield Finding(what, "ok", found)


def _memory(_: Workspace) -> Iterator[Finding]:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    little = total < _LITTLE_MEMORY
    remedy = "learn with `--batch-size 1`" if little else ""
    yield Finding("memory", "warning" if little else "ok", f"{total / 1e9:.1f} GB", remedy)


def _registry(workspace: Workspace) -> Iterator[Finding]:
    registry = workspace.registry
    broken = registry.broken()
    found = f"{len(registry.names())} assets at {registry.root}"
    if broken:
        names = ", ".join(f"`{name}`" for name, _ in broken)
        yield Finding("registry", "broken", f"{found}; unreadable: {names}", "`cav verify --repair`")
    else:
        yield Finding("registry", "ok", found)
    for place in registry.shared:
        if not place.is_dir():
            yield Finding("registry", "warning", f"no such folder: {place}", "`cav config get registry.paths`")
    trash = sum(each.size for each in list_trash(registry))
    if trash > _MUCH_TRASH:
        yield Finding("trash", "warning", f"{trash / 1e9:.1f} GB", "`cav trash empty`")


def _runs(workspace: Workspace) -> Iterator[Finding]:
    stopped = [run.id for run in workspace.runs.list() if run.status in {"stopped", "failed"}]
    if stopped:
        yield Finding("runs", "warning", f"{len(stopped)} not finished", "`cav runs list`, `cav prune`")


def _models(workspace: Workspace) -> Iterator[Finding]:
    built_in = [name for name, entry in CATALOGUE.items() if entry.folder]
    for name in [*built_in, *workspace.models.names()]:
        try:
            model = workspace.models.find(name)
            found = f"{model.name}, revision {model.revision}, architecture {model.fingerprint}"
            yield Finding("model", "ok", found)
        except CavError as error:
            yield Finding("model", "warning", error.message, error.hint or "")


def _ffmpeg(_: Workspace) -> Iterator[Finding]:
    from cavtool.video import ffmpeg_exe
    from cavtool.video.ffmpeg import missing_codecs

    exe = ffmpeg_exe()
    missing = missing_codecs(exe)
    if missing:
        found = f"{exe} does not support {', '.join(missing)}"
        yield Finding("ffmpeg", "warning", found, "`pip install -U imageio-ffmpeg`")
    else:
        yield Finding("ffmpeg", "ok", exe)


def _torch(_: Workspace) -> Iterator[Finding]:
    if _version("torch") is None:
        return
    from cavtool.core.devices import best_device

    yield Finding("device", "ok", best_device())
