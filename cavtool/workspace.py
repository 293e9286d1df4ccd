"""The registry, the models, the runs, the history and the settings of one home folder."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cavtool.errors import InvalidInput
from cavtool.system import paths

if TYPE_CHECKING:
    from cavtool.history import History
    from cavtool.models import Models
    from cavtool.registry.store import Registry
    from cavtool.runs import Runs
    from cavtool.settings import Settings


class Workspace:
    """Everything `cav` keeps under `home` (default: CAV_HOME, else the platform's folders).

    Its parts are opened when they are first used, so that a command loads only what it needs. `on_wait` receives one
    message if a writer has to wait for another process; if the settings are damaged, `on_warning` receives the reason
    and shared folders of motions are left out; without it, InvalidInput is raised.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        on_wait: Callable[[str], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self.places = paths.places(home)
        self._on_wait, self._on_warning = on_wait, on_warning

    @cached_property
    def settings(self) -> "Settings":
        """The user's settings."""
        from cavtool.settings import Settings

        return Settings(self.places.settings)

    @cached_property
    def registry(self) -> "Registry":
        """Motions and absorbers, those in the shared folders of the settings included. Raises InvalidInput."""
        from cavtool.registry.store import Registry

        return Registry(self.places.assets, shared=self._shared(), on_wait=self._on_wait)

    def _shared(self) -> Sequence[Path]:
        if "CAV_REGISTRY_PATHS" not in os.environ and not self.places.settings.exists():
            return ()  # without loading the settings, 5 ms of each start
        try:
            return self.settings.shared_registries()
        except InvalidInput as error:
            if self._on_warning is None:
                raise
            self._on_warning(error.message)
            return ()

    @cached_property
    def runs(self) -> "Runs":
        """Training runs."""
        from cavtool.runs import Runs

        return Runs(self.places.runs)

    @cached_property
    def models(self) -> "Models":
        """Base models."""
        from cavtool.models import Models

        return Models(self.places.models, self.places.cache)

    @cached_property
    def history(self) -> "History":
        """Generated videos."""
        from cavtool.history import History

        return History(self.places.history)
