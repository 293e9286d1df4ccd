"""Where files are kept. These functions return paths and create nothing; `CAV_HOME` moves everything."""

import os
from pathlib import Path

from platformdirs import PlatformDirs

# Without `appauthor=False`, Windows would use "cav\\cav".
_DIRS = PlatformDirs("cav", appauthor=False)


def data_dir() -> Path:
    """Motions and absorbers."""
    return _under_home("data") or _DIRS.user_data_path


def config_dir() -> Path:
    """Settings."""
    return _under_home("config") or _DIRS.user_config_path


def config_file() -> Path:
    """The user's settings."""
    return config_dir() / "config.toml"


def cache_dir() -> Path:
    """Files that can be made or downloaded again."""
    return _under_home("cache") or _DIRS.user_cache_path


def state_dir() -> Path:
    """Training runs and the history."""
    return _under_home("state") or _DIRS.user_state_path


def assets_dir() -> Path:
    """The registry: one folder per motion or absorber."""
    return data_dir() / "assets"


def runs_dir() -> Path:
    """One folder per training run."""
    return state_dir() / "runs"


def _under_home(part: str) -> Path | None:
    home = os.environ.get("CAV_HOME")
    return Path(home).expanduser().absolute() / part if home else None
