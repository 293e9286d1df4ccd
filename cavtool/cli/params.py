"""Options that several commands share, and the completion of what the user has named.

A completer answers the shell at every press of the tab key: standard library only, no lock, and not a word on failure.
"""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from cavtool import paths


def asset_names(incomplete: str) -> list[str]:
    """Complete motions and absorbers."""
    return _folders(paths.assets_dir(), "record.toml", incomplete)


def motion_names(incomplete: str) -> list[str]:
    """Complete motions only."""
    return [name for name in asset_names(incomplete) if _is_motion(paths.assets_dir() / name / "record.toml")]


def run_ids(incomplete: str) -> list[str]:
    """Complete training runs."""
    return _folders(paths.runs_dir(), "run.toml", incomplete)


def thrown_ids(incomplete: str) -> list[str]:
    """Complete what lies in the trash."""
    return _folders(paths.data_dir() / "trash", "record.toml", incomplete)


def setting_keys(incomplete: str) -> list[str]:
    """Complete settings."""
    from cavtool.settings import SETTINGS

    return [key for key in SETTINGS if key.startswith(incomplete)]


def _folders(root: Path, holding: str, prefix: str) -> list[str]:
    try:
        return sorted(name for file in root.glob(f"[!.]*/{holding}") if (name := file.parent.name).startswith(prefix))
    except OSError:
        return []


def _is_motion(record: Path) -> bool:
    try:
        return tomllib.loads(record.read_text(encoding="utf-8")).get("kind") == "motion"
    except (OSError, ValueError):
        return False


Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: the best there is.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Model = Annotated[str, typer.Option(help="Base model: a name, or the folder of a diffusers pipeline.")]
