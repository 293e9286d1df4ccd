"""The events a run reported, one line of JSON each, and the output of a detached process."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cavtool import schema
from cavtool.errors import IntegrityFailure
from cavtool.events import Event, from_json
from cavtool.system.files import read_lines, writing_to

_EVENTS, _OUTPUT = "log.jsonl", "output.log"


def append(folder: Path, event: Mapping[str, object]) -> None:
    """Append one line of JSON. Raises RequirementError."""
    with writing_to(folder), (folder / _EVENTS).open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(event) + "\n")


def read(folder: Path) -> list[Event]:
    """The events that can be read; the last line may be incomplete while it is being written."""
    events = []
    for line in read_lines(folder / _EVENTS):
        with suppress(ValueError, IntegrityFailure):
            events.append(from_json(schema.parse_json(line)))
    return events


def last_output(folder: Path) -> str:
    """The last line a detached process printed, hints excluded; empty if there is none."""
    printed = (line.strip() for line in reversed(read_lines(folder / _OUTPUT)))
    return next((line for line in printed if line and not line.startswith("hint:")), "")
