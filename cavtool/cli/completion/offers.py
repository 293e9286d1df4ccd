"""Candidates for shell completion: names, models, settings and files.

A completer runs at every press of the tab key, so it uses the standard library only, takes no lock, reads few records,
and is silent if something fails. Shells evaluate candidates, and file names and prompts are untrusted: names with
unusual characters are not offered, and only the plain words of a prompt are shown.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from cavtool.system import paths

Offer = str | tuple[str, str]  # a word, or a word and its description

WEIGHTS = ("0.3", "0.5", "0.7", "1.0", "1.3")
WINDOWS = ("0-0.3", "0-0.5", "0.3-1", "0.5-1")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".webp", ".m4v")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".avif")
_MAX_DESCRIBED = 50  # nobody reads more descriptions
_MAX_SORTED_OUT = 500  # reading more records would take too long: all others are offered
_MAX_DESCRIPTION = 60  # characters
_MAX_FILES = 10_000
_SAFE = re.compile(r"[\w@%+=:,./~-]+", re.ASCII)


def asset_names(incomplete: str) -> list[Offer]:
    """Motions and absorbers."""
    return _described(_assets(incomplete))


def motion_names(incomplete: str) -> list[Offer]:
    """Motions; after `NAME:`, common weights; after an `@`, common windows."""
    blend, at, window = incomplete.rpartition("@")
    if at:
        known = blend.partition(":")[0] in _assets(blend.partition(":")[0])
        return [f"{blend}@{each}" for each in WINDOWS if known and each.startswith(window)]
    return weighted_motion_names(incomplete)


def weighted_motion_names(incomplete: str) -> list[Offer]:
    """Motions; after `NAME:`, common weights."""
    return _of_kind("motion", incomplete)


def absorber_names(incomplete: str) -> list[Offer]:
    """Absorbers, files with weights and folders; after `NAME:`, common weights."""
    from cavtool.recipes.absorb import WEIGHT_FILES

    return [*_of_kind("absorber", incomplete), *_files(incomplete, WEIGHT_FILES)]


def _of_kind(kind: str, incomplete: str) -> list[Offer]:
    name, colon, weight = incomplete.rpartition(":")
    if colon:
        known = name in _assets(name)
        return [f"{name}:{each}" for each in WEIGHTS if known and each.startswith(weight)]
    records = _assets(incomplete)
    others = {each for each in sorted(records)[:_MAX_SORTED_OUT] if _record(records[each]).get("kind") != kind}
    return _described({each: record for each, record in records.items() if each not in others})


def run_ids(incomplete: str) -> list[Offer]:
    """Training runs, and `latest`."""
    return sorted([*_folders(paths.places().runs, incomplete), *_beginning(("latest",), incomplete)])


def devices(incomplete: str) -> list[Offer]:
    """Devices."""
    return _beginning(("auto", "cpu", "cuda", "mps"), incomplete)


def sort_keys(incomplete: str) -> list[Offer]:
    """What `cav list` can sort by."""
    return _beginning(("name", "created", "size"), incomplete)


def tags(incomplete: str) -> list[Offer]:
    """Tags of motions and absorbers."""
    records = [_record(file) for file in list(_assets("").values())[:_MAX_SORTED_OUT]]
    found = [tag for record in records if isinstance(record.get("tags"), list) for tag in record["tags"]]
    return _beginning(sorted({tag for tag in found if isinstance(tag, str) and _SAFE.fullmatch(tag)}), incomplete)


def _beginning(words: Iterable[str], incomplete: str) -> list[Offer]:
    return [word for word in words if word.startswith(incomplete)]


def trash_ids(incomplete: str) -> list[Offer]:
    """Entries of the trash."""
    return sorted(_folders(paths.places().trash, incomplete))


def setting_keys(incomplete: str) -> list[Offer]:
    """Settings."""
    from cavtool.settings import SETTINGS

    return [(key, _plain(setting.about)) for key, setting in SETTINGS.items() if key.startswith(incomplete)]


def model_names(incomplete: str) -> list[Offer]:
    """Base models, and folders."""
    return [*listed_model_names(incomplete), *_files(incomplete, ())]


def listed_model_names(incomplete: str) -> list[Offer]:
    """Base models of the catalogue, and those that were added or pulled."""
    from cavtool.models.catalogue import CATALOGUE

    return [name for name in dict.fromkeys([*CATALOGUE, *_pointers()]) if name.startswith(incomplete)]


def hub_model_names(incomplete: str) -> list[Offer]:
    """Base models that can be downloaded."""
    from cavtool.models.catalogue import CATALOGUE

    remote = [name for name, entry in CATALOGUE.items() if not entry.folder]
    return [name for name in dict.fromkeys([*remote, *_pointers()]) if name.startswith(incomplete)]


def _pointers() -> list[str]:
    """The names in the files that `cav models` wrote; `owner+name.toml` is of a repository on the Hub."""
    with suppress(OSError), os.scandir(paths.places().models) as entries:
        files = sorted(entry.name for entry in entries if entry.name.endswith(".toml") and entry.name[0] != ".")
        names = [file.removesuffix(".toml").replace("+", "/") for file in files]
        return [name for name in names if _SAFE.fullmatch(name)]
    return []


def video_files(incomplete: str) -> list[Offer]:
    """Videos, and folders."""
    return [*_files(incomplete, VIDEOS)]


def source_files(incomplete: str) -> list[Offer]:
    """Videos, pictures, and folders."""
    return [*_files(incomplete, (*VIDEOS, *PICTURES))]


def motions_and_videos(incomplete: str) -> list[Offer]:
    """Motions without weights, videos, and folders."""
    return [*(motion_names(incomplete) if ":" not in incomplete else ()), *video_files(incomplete)]


def bundle_files(incomplete: str) -> list[Offer]:
    """Files of `cav export`, LoRAs of other tools, and folders."""
    from cavtool.recipes.absorb import WEIGHT_FILES

    return [*_files(incomplete, (".cav", *WEIGHT_FILES))]


def _assets(prefix: str) -> dict[str, str]:
    """Names with this prefix and the paths of their records; the user's own take precedence over shared ones."""
    found: dict[str, str] = {}
    for root in (paths.places().assets, *_shared()):
        for name in _folders(root, prefix):
            found.setdefault(name, f"{root}/{name}/record.toml")
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


def _described(records: dict[str, str]) -> list[Offer]:
    names = sorted(records)
    described = [(name, _plain(str(_record(records[name]).get("prompt", "")))) for name in names[:_MAX_DESCRIBED]]
    return [*described, *names[_MAX_DESCRIBED:]]


@cache
def _record(file: str) -> dict[str, Any]:
    """The table in a record; empty if it cannot be read."""
    import tomllib

    with suppress(OSError, ValueError, RecursionError), open(file, "rb") as opened:  # noqa: PTH123 a Path is slower
        return tomllib.load(opened)
    return {}


def _plain(text: str) -> str:
    """Letters, digits and spaces of a text, cut to a length: nothing that a shell evaluates."""
    words = " ".join(re.findall(r"\w+", text, re.ASCII))
    return words if len(words) <= _MAX_DESCRIPTION else f"{words[:_MAX_DESCRIPTION]}..."


def _files(incomplete: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    folder, _, prefix = incomplete.rpartition("/")
    lead = f"{folder}/" if folder or incomplete.startswith("/") else ""
    with suppress(OSError, RuntimeError), os.scandir(Path(lead or ".").expanduser()) as entries:
        for entry in sorted(islice(entries, _MAX_FILES), key=lambda entry: entry.name):
            hidden = entry.name[0] == "." and not prefix
            if hidden or not entry.name.startswith(prefix) or not _SAFE.fullmatch(entry.name):
                continue
            if entry.is_dir():
                yield f"{lead}{entry.name}/"
            elif entry.name.lower().endswith(suffixes) and suffixes:
                yield f"{lead}{entry.name}"
