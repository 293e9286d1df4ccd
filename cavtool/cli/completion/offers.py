"""What the tab key offers in the place of a name.

A completer answers the shell at every press of the key: standard library only, no lock, nothing parsed but the
beginning of a file, and not a word on failure. Names of files and prompts may be anybody's, and shells evaluate what is
offered: of prompts only plain words are told, and a name that a shell could take for anything else is not offered.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from cavtool.system import paths

Offer = str | tuple[str, str]  # a word, or one with its help

WEIGHTS = ("0.3", "0.5", "0.7", "1.0", "1.3")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".webp", ".m4v")
_WITH_HELP = 50  # matches; further down nobody reads the help
_LONGEST = 60  # characters of help
_BEGINNING = 2_000  # bytes of a record in which kind and prompt stand
_SAFE = re.compile(r"[\w@%+=:,./~-]+", re.ASCII)
_KIND = re.compile(rb'^kind = "(\w+)"\r?$', re.MULTILINE)
_PROMPT = re.compile(rb'^prompt = "(.*)"\r?$', re.MULTILINE)


def asset_names(incomplete: str) -> list[Offer]:
    """Motions and absorbers."""
    return _with_help(_assets(incomplete))


def motion_names(incomplete: str) -> list[Offer]:
    """Motions; after `NAME:` common weights."""
    name, colon, weight = incomplete.rpartition(":")
    if colon:
        known = name in _assets(name)
        return [f"{name}:{each}" for each in WEIGHTS if known and each.startswith(weight)]
    return _with_help({n: record for n, record in _assets(incomplete).items() if _says(_KIND, record) == "motion"})


def run_ids(incomplete: str) -> list[Offer]:
    """Training runs."""
    return sorted(_folders(paths.places().runs, incomplete))


def thrown_ids(incomplete: str) -> list[Offer]:
    """What lies in the trash."""
    return sorted(_folders(paths.places().trash, incomplete))


def setting_keys(incomplete: str) -> list[Offer]:
    """Settings."""
    from cavtool.settings import SETTINGS

    return [(key, _plain(setting.about)) for key, setting in SETTINGS.items() if key.startswith(incomplete)]


def model_names(incomplete: str) -> list[Offer]:
    """Base models by name; folders."""
    from cavtool.models import CATALOGUE

    return [*(name for name in CATALOGUE if name.startswith(incomplete)), *_files(incomplete, ())]


def video_files(incomplete: str) -> list[Offer]:
    """Videos, and folders on the way to them."""
    return [*_files(incomplete, VIDEOS)]


def bundle_files(incomplete: str) -> list[Offer]:
    """Files of `cav export`, and folders on the way to them."""
    return [*_files(incomplete, (".cav",))]


def _assets(prefix: str) -> dict[str, str]:
    """Names that begin so, with their records' paths; one's own go before those that are shared."""
    found: dict[str, str] = {}
    for place in (paths.places().assets, *_shared()):
        for name in _folders(place, prefix):
            found.setdefault(name, f"{place}/{name}/record.toml")
    return found


def _shared() -> list[Path]:
    from cavtool.errors import CavError
    from cavtool.settings import Settings

    with suppress(CavError, OSError, ValueError):
        return Settings(paths.places().settings).shared_registries()
    return []


def _folders(root: Path, prefix: str) -> list[str]:
    with suppress(OSError), os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix) and entry.name[0] != "."]
        return [name for name in names if _SAFE.fullmatch(name)]
    return []


def _with_help(records: dict[str, str]) -> list[Offer]:
    names = sorted(records)
    told = [(name, _plain(_says(_PROMPT, records[name]))) for name in names[:_WITH_HELP]]
    return [*told, *names[_WITH_HELP:]]


def _says(pattern: re.Pattern[bytes], record: str) -> str:
    with suppress(OSError, UnicodeDecodeError), open(record, "rb", buffering=0) as file:  # noqa: PTH123 of thousands
        match = pattern.search(file.read(_BEGINNING))
        return match[1].decode() if match else ""
    return ""


def _plain(text: str) -> str:
    """Letters, digits and spaces, not too many: no shell can take them for anything else."""
    words = " ".join(re.findall(r"\w+", text, re.ASCII))
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _files(incomplete: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    folder, _, prefix = incomplete.rpartition("/")
    lead = f"{folder}/" if folder or incomplete.startswith("/") else ""
    with suppress(OSError, RuntimeError), os.scandir(Path(lead or ".").expanduser()) as entries:
        for entry in sorted(islice(entries, 10_000), key=lambda entry: entry.name):
            hidden = entry.name[0] == "." and not prefix
            if hidden or not entry.name.startswith(prefix) or not _SAFE.fullmatch(entry.name):
                continue
            if entry.is_dir():
                yield f"{lead}{entry.name}/"
            elif entry.name.lower().endswith(suffixes) and suffixes:
                yield f"{lead}{entry.name}"
