"""The events a long workflow reports: the command line draws them, scripts read them as JSON."""

import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass

from cavtool.errors import IntegrityFailure


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
class Transfer:
    """Bytes of `source` that have been downloaded; `seconds` since the download began."""

    source: str
    done: int
    total: int
    seconds: float


@dataclass(frozen=True)
class Note:
    """Information."""

    text: str


@dataclass(frozen=True)
class Warn:
    """A warning: something the user may want to change."""

    text: str


Event = Stage | Step | Transfer | Note | Warn
OnEvent = Callable[[Event], None]
_NAMES = {Stage: "stage", Step: "step", Transfer: "transfer", Note: "note", Warn: "warning"}


def to_json(event: Event) -> dict[str, object]:
    """The event as one JSON object, its kind under `event`."""
    return {"event": _NAMES[type(event)], **asdict(event)}


def from_json(fields: object) -> Event:
    """The event in a parsed line of JSON, as `to_json` made it. Raises IntegrityFailure."""
    from cavtool import schema  # not needed by commands without a run

    name = fields.get("event") if isinstance(fields, dict) else None
    kind = next((kind for kind, known in _NAMES.items() if name == known), None)
    if kind is None:
        raise IntegrityFailure(f"unknown event `{name}`")
    event: Event = schema.read(fields, kind, f"the event `{name}`")
    return event


class Terminated(KeyboardInterrupt):
    """A signal ends this process: SIGINT, as Ctrl-C sends it, SIGTERM or SIGHUP."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = int(number)


class Interrupted(Terminated):
    """A signal stopped a training run: `run_id` names what to resume."""

    def __init__(self, run_id: str, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.run_id = run_id
