"""The record of an asset: `record.toml`, schema 4.

Records of older schemas are migrated when they are read. From a record of a newer schema the known fields are read;
such a record is never changed.

schema 4: `absorbers`, the existing ones a motion was learned with
schema 3: without `target_modules`, which the weights file names
schema 2: `tags` and `note`, which the user sets
schema 1: the first
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cavtool import schema
from cavtool._version import __version__
from cavtool.errors import IntegrityFailure
from cavtool.names import is_name

SCHEMA = 4
RECORD = "record.toml"
WEIGHTS = "weights.safetensors"

Kind = Literal["motion", "absorber"]
Origin = Literal["learned", "mixed", "imported"]
Scalar = str | int | float | bool

_MOST = 1e9  # of a number about a clip
_FILE = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The part of a video a motion was learned from: seconds, frames per second, pixels; the file only by its hash."""

    sha256: str
    start: float
    duration: float
    fps: float
    num_frames: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < _MOST or not all(0 < each < _MOST for each in self._sizes):
            raise ValueError("its numbers must be above 0 and below a billion")

    @property
    def _sizes(self) -> tuple[float, ...]:
        return self.duration, self.fps, self.num_frames, self.width, self.height


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A motion that went into a mix."""

    name: str
    content_id: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class UsedAbsorber:
    """An existing absorber that a motion was learned with: the name of the asset or of the file, and its content id.

    `kind` is "s-lora", "textinv", "dual" or "dreambooth".
    """

    name: str
    kind: str
    content_id: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """The description of an asset; `Registry.put` sets `content_id`, `files` and `created`.

    `content_id` is the sha256 of the weights, `files` maps every file to its sha256, `created` is ISO 8601 in UTC.
    `fingerprint` identifies the base model's architecture, `revision` its weights, and `commit` the commit of its
    repository if it was pulled from the Hub. The fields are in the order of the file, plain values before tables.
    """

    schema: int = SCHEMA
    name: str
    kind: Kind
    origin: Origin
    content_id: str = ""
    base_model: str
    fingerprint: str
    revision: str
    commit: str | None = None
    prompt: str
    appearance: str
    rank: int
    created: str = ""
    tool_version: str = __version__
    tags: tuple[str, ...] = ()
    note: str = ""
    recipe: Mapping[str, Scalar] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    clip: Clip | None = None
    parents: tuple[Parent, ...] = ()
    absorbers: tuple[UsedAbsorber, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_newer(self) -> bool:
        """Whether a newer version of the tool wrote it, so that writing it here could lose fields."""
        return self.schema > SCHEMA

    @property
    def short_id(self) -> str:
        """The content id as users see it: its first 12 digits."""
        return self.content_id[:12]


def check_writable(record: Record) -> None:
    """Raise IntegrityFailure for a record of a newer schema."""
    if record.is_newer:
        hint = "upgrade `cav` to change it"
        raise IntegrityFailure(f"the record of `{record.name}` was written by a newer `cav`", hint=hint)


def to_toml(record: Record) -> str:
    """The text of `record.toml`."""
    return schema.to_toml(record)


def from_toml(text: str) -> Record:
    """The record in the text of a `record.toml`. Raises IntegrityFailure if it is damaged or too new to be read."""
    table = schema.parse_toml(text, "the record")
    version = table.get("schema")
    if type(version) is not int or version < 1:
        raise IntegrityFailure("the record has no valid `schema`")
    if version < SCHEMA:  # fields added since are optional, removed ones are ignored
        table["schema"] = SCHEMA
    try:
        record = schema.read(table, Record, "the record")
    except IntegrityFailure as failure:
        if version <= SCHEMA:
            raise
        message = f"the record has schema {version}, this version knows {SCHEMA}"
        raise IntegrityFailure(message, hint="a newer version wrote it: upgrade `cav`") from failure
    _check(record)
    return record


def _check(record: Record) -> None:
    if not _SHA256.fullmatch(record.content_id) or record.files.get(WEIGHTS) != record.content_id:
        raise IntegrityFailure("the record does not name its weights by their sha256")
    noise_from = record.recipe.get("noise_from", 0.0)
    if isinstance(noise_from, str | bool) or not 0 <= noise_from < 1:
        raise IntegrityFailure(f"the record has no valid `recipe.noise_from`: {noise_from!r} is not from 0 to 1")
    if not 0 <= record.rank < _MOST:
        raise IntegrityFailure(f"the record has no valid `rank`: {record.rank}")
    if not is_name(record.name) or not all(map(_FILE.fullmatch, record.files)):
        raise IntegrityFailure("the record holds an invalid name")
