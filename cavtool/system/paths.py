"""The folders for files of `cav`: in one home folder, or the platform's standard folders. Creates nothing."""

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import PlatformDirs

from cavtool.errors import InvalidInput

# Without `appauthor=False`, Windows would use "cav\\cav".
_DIRS = PlatformDirs("cav", appauthor=False)


@dataclass(frozen=True)
class Places:
    """The folders of one home: `data` for assets, `config` for settings, `state` for runs and history, `cache`."""

    data: Path
    config: Path
    state: Path
    cache: Path

    @property
    def assets(self) -> Path:
        """The registry: one folder per motion or absorber."""
        return self.data / "assets"

    @property
    def models(self) -> Path:
        """One file per model that was added or pulled: where it is."""
        return self.data / "models"

    @property
    def trash(self) -> Path:
        """Removed and replaced assets."""
        return self.data / "trash"

    @property
    def runs(self) -> Path:
        """One folder per training run."""
        return self.state / "runs"

    @property
    def history(self) -> Path:
        """The generated videos, one line each."""
        return self.state / "history.jsonl"

    @property
    def settings(self) -> Path:
        """The user's settings."""
        return self.config / "config.toml"


def places(home: Path | None = None) -> Places:
    """The places under `home` (default: the variable CAV_HOME, and without it the platform's folders).

    Raises InvalidInput for the home of a user that does not exist, and for a file.
    """
    root = home or os.environ.get("CAV_HOME")
    if not root:
        return Places(_DIRS.user_data_path, _DIRS.user_config_path, _DIRS.user_state_path, _DIRS.user_cache_path)
    try:
        folder = Path(root).expanduser().absolute()
    except RuntimeError as error:
        raise InvalidInput(f"`CAV_HOME` is `{root}`, the home of an unknown user", hint="set it to a folder") from error
    if os.path.exists(folder) and not folder.is_dir():  # noqa: PTH110 a Path raises for a long name
        raise InvalidInput(f"`CAV_HOME` is `{root}`, which is not a folder", hint="set it to a folder")
    return Places(*(folder / part for part in ("data", "config", "state", "cache")))
