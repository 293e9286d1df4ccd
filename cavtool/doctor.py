"""Whether this machine has what `cav` needs, as data: what was looked at, what was found, what would mend it."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from cavtool import settings
from cavtool._version import __version__
from cavtool.errors import CavError
from cavtool.models import CATALOGUE
from cavtool.registry import Registry
from cavtool.registry.trash import list_trash
from cavtool.runs import list_runs
from cavtool.system import paths

State = Literal["ok", "warning", "broken"]

_LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "ffmpeg-python")
_LITTLE_MEMORY, _LITTLE_DISK = 4e9, 2e9  # bytes
_MUCH_TRASH = 1e9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    found: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, the quickest first; a look that fails is a finding too."""
    for look in (_versions, _settings, _disk, _memory, _registry, _runs, _models, _ffmpeg, _torch):
        try:
            yield from look()
        except CavError as error:
            yield Finding(look.__name__.lstrip("_"), "broken", error.message, error.hint or "")
        except Exception as error:  # noqa: BLE001 what is broken may raise anything, and the rest is still to be told
            yield Finding(look.__name__.lstrip("_"), "broken", f"{type(error).__name__}: {error}")


def _versions() -> Iterator[Finding]:
    yield Finding("cav", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
    missing = [name for name in _LIBRARIES if _version(name) is None]
    told = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES if name not in missing)
    yield Finding("libraries", "ok", told)
    if missing:
        yield Finding("libraries", "broken", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _settings() -> Iterator[Finding]:
    for key in settings.SETTINGS:
        settings.get(key)
    strangers = settings.strangers()
    if strangers:
        yield Finding("settings", "warning", f"mean nothing: {', '.join(strangers)}", "`cav config edit`")
    else:
        yield Finding("settings", "ok", str(settings.file()))


def _disk() -> Iterator[Finding]:
    for what, place in (("data", paths.data_dir()), ("state", paths.state_dir())):
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free
        told = f"{free / 1e9:.1f} GB free at {place}"
        if not os.access(there, os.W_OK):
            yield Finding(what, "broken", f"may not write to {there}", "let `CAV_HOME` name a folder you may write to")
        elif free < _LITTLE_DISK:
            yield Finding(what, "warning", told, "`cav prune`, `cav trash empty`")
        else:
            yield Finding(what, "ok", told)


def _memory() -> Iterator[Finding]:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    little = total < _LITTLE_MEMORY
    remedy = "learn with `--batch-size 1`" if little else ""
    yield Finding("memory", "warning" if little else "ok", f"{total / 1e9:.1f} GB", remedy)


def _registry() -> Iterator[Finding]:
    registry = Registry()
    broken = registry.broken()
    told = f"{len(registry.names())} assets at {registry.root}"
    if broken:
        names = ", ".join(f"`{name}`" for name, _ in broken)
        yield Finding("registry", "broken", f"{told}; cannot be read: {names}", "`cav verify --repair`")
    else:
        yield Finding("registry", "ok", told)
    for place in registry.shared:
        if not place.is_dir():
            yield Finding("registry", "warning", f"no folder {place}", "`cav config get registry.paths`")
    thrown = sum(each.size for each in list_trash(registry))
    if thrown > _MUCH_TRASH:
        yield Finding("trash", "warning", f"{thrown / 1e9:.1f} GB", "`cav trash empty`")


def _runs() -> Iterator[Finding]:
    stopped = [run.id for run in list_runs() if run.status in {"stopped", "failed"}]
    if stopped:
        yield Finding("runs", "warning", f"{len(stopped)} not finished", "`cav runs list`, `cav prune`")


def _models() -> Iterator[Finding]:
    for model in CATALOGUE.values():
        yield Finding("model", "ok", f"{model.name}, revision {model.revision}, architecture {model.fingerprint}")


def _ffmpeg() -> Iterator[Finding]:
    from cavtool.video import ffmpeg_exe
    from cavtool.video.ffmpeg import missing_abilities

    exe = ffmpeg_exe()
    lacks = missing_abilities(exe)
    if lacks:
        yield Finding("ffmpeg", "warning", f"{exe} cannot do {', '.join(lacks)}", "`pip install -U imageio-ffmpeg`")
    else:
        yield Finding("ffmpeg", "ok", exe)


def _torch() -> Iterator[Finding]:
    if _version("torch") is None:
        return
    from cavtool.core.devices import best_device

    yield Finding("device", "ok", best_device())
