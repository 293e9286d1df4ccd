"""The record of a run, its request and how it ended: `run.toml`, schema 4.

schema 4: `memory` in the recipe
schema 3: `absorbers` in the recipe
schema 2: `schema`, and the values of the former table `settings` at the top
schema 1: the first; it has no `schema`
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cavtool import schema
from cavtool.errors import IntegrityFailure
from cavtool.recipes import LearnRecipe
from cavtool.registry.record import Clip
from cavtool.system.files import read_text, write_atomic, writing_to

SCHEMA = 4
FILE = "run.toml"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended: the content id of the motion as `result`, or the `reason` of a failure; after `step` steps."""

    result: str | None = None
    reason: str | None = None
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A request to learn the motion `name`; `outcome` is None until the run is done or has failed.

    `created` is ISO 8601 in UTC; `replace` allows an older asset to be replaced; `revision` is that of the base model's
    weights. The fields are in the order of the file, plain values before tables.
    """

    schema: int = SCHEMA
    name: str
    created: str
    replace: bool
    revision: str
    recipe: LearnRecipe
    clip: Clip
    outcome: Outcome | None = None


def load(folder: Path) -> RunRecord:
    """The record in the folder of a run. Raises IntegrityFailure, also for an unknown key and for a newer schema."""
    what = f"`{FILE}` of run `{folder.name}`"
    try:
        text = read_text(folder / FILE)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IntegrityFailure(f"{what} cannot be read: {reason}", hint=f"`cav runs rm {folder.name}`") from error
    table = schema.parse_toml(text, what)
    if schema.read(table.get("schema", 1), int, f"`schema` in {what}") > SCHEMA:
        raise IntegrityFailure(f"{what} was written by a newer `cav`", hint="upgrade `cav`")
    return schema.read(_migrated(table), RunRecord, what, refuse_unknown=True)


def save(folder: Path, record: RunRecord) -> None:
    """Write the record atomically. Raises RequirementError."""
    text = schema.to_toml(record)
    with writing_to(folder):
        write_atomic(folder / FILE, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))


def _migrated(table: dict[str, Any]) -> dict[str, Any]:
    settings = table.get("settings")
    if "schema" in table or not isinstance(settings, dict):
        return table
    return {key: value for key, value in table.items() if key != "settings"} | settings
