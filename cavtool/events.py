"""What a long workflow reports while it works; the command line draws it, scripts read it as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A stage begins: the `index`-th (from 1) of `count`."""

    name: str
    index: int
    count: int


@dataclass(frozen=True)
class Step:
    """One step of a stage is done; `seconds` since the stage began."""

    stage: str
    step: int
    num_steps: int
    loss: float | None
    seconds: float


@dataclass(frozen=True)
class Note:
    """Something worth knowing."""

    text: str


@dataclass(frozen=True)
class Warn:
    """Something the user may want to change."""

    text: str


Event = Stage | Step | Note | Warn
OnEvent = Callable[[Event], None]
_NAMES = {Stage: "stage", Step: "step", Note: "note", Warn: "warning"}


def to_json(event: Event) -> dict[str, object]:
    """The event as one JSON object, its kind under `event`."""
    return {"event": _NAMES[type(event)], **asdict(event)}


def from_json(told: Mapping[str, Any]) -> Event:
    """The reverse of `to_json`. Raises KeyError or TypeError for what is no event."""
    kind = {name: kind for kind, name in _NAMES.items()}[told["event"]]
    event: Event = kind(**{key: value for key, value in told.items() if key != "event"})
    return event


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a training run: `run_id` names what to resume."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id
