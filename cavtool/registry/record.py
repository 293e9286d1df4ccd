"""What is known of an asset, and its form on disk: `record.toml`, schema 2.

Older schemas are migrated as they are read; of a newer one what is known is read, and nothing is written.

schema 2: `tags` and `note`, which the user sets
schema 1: the first
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from cavtool._version import __version__
from cavtool.errors import IntegrityFailure
from cavtool.names import is_name
from cavtool.registry.known import Loads

SCHEMA = 2
RECORD = "record.toml"
WEIGHTS = "weights.safetensors"

Kind = Literal["motion", "absorber"]
Origin = Literal["learned", "mixed", "imported"]
Scalar = str | int | float | bool

_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {  # from a schema to the next
    1: lambda table: table | {"schema": 2},
}
_FILE = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The part of a video a motion was learned from: seconds, frames a second, pixels; the file only by its hash."""

    sha256: str
    start: float
    duration: float
    fps: float
    num_frames: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A motion that went into a mix."""

    name: str
    content_id: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that is known of an asset; `Registry.put` fills in `content_id`, `files` and `created`.

    `content_id` is the sha256 of the weights, `files` maps every file to its sha256, `fingerprint` stands for the
    base model's architecture and `revision` for its weights, `created` is ISO 8601 in UTC. The fields are in the
    order of the file: plain values first, because one that followed a table would belong to it.
    """

    schema: int = SCHEMA
    name: str
    kind: Kind
    origin: Origin
    content_id: str = ""
    base_model: str
    fingerprint: str
    revision: str
    prompt: str
    appearance: str
    rank: int
    target_modules: tuple[str, ...] = ()
    created: str = ""
    tool_version: str = __version__
    tags: tuple[str, ...] = ()
    note: str = ""
    recipe: Mapping[str, Scalar] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    clip: Clip | None = None
    parents: tuple[Parent, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_newer(self) -> bool:
        """Whether a newer version of the tool wrote it, which may know more of it than this one could write."""
        return self.schema > SCHEMA

    @property
    def short_id(self) -> str:
        """The content id as people see it: its first 12 digits."""
        return self.content_id[:12]


def check_ours(record: Record) -> None:
    """Raise IntegrityFailure for a record this version may read, but not write."""
    if record.is_newer:
        hint = "upgrade this one to change it"
        raise IntegrityFailure(f"the record of `{record.name}` was written by a newer `cav`", hint=hint)


def to_toml(record: Record) -> str:
    """The text of `record.toml`; every target module has a line of its own."""
    import tomlkit

    table = {key: value for key, value in asdict(record).items() if value not in (None, ())}
    if record.target_modules:
        table["target_modules"] = tomlkit.item(list(record.target_modules)).multiline(multiline=True)
    return tomlkit.dumps(table)


def from_toml(text: str, loads: Loads = tomllib.loads) -> Record:
    """The record in the text of a `record.toml`; IntegrityFailure if it is damaged, or too new to be read."""
    try:
        table = loads(text)
    except (ValueError, RecursionError) as error:
        raise IntegrityFailure(f"the record is not TOML: {error}") from error
    schema = _read(int, table.get("schema"), "schema")
    if schema < 1:
        raise IntegrityFailure("the record has no valid `schema`")
    for older in range(schema, SCHEMA):
        table = _MIGRATIONS[older](table)
    try:
        record: Record = _read(Record, table, "")
    except IntegrityFailure as failure:
        if schema > SCHEMA:
            hint = "a newer `cav` wrote it: upgrade this one"
            raise IntegrityFailure(
                f"the record has schema {schema}, this version knows {SCHEMA}", hint=hint
            ) from failure
        raise
    if not _SHA256.fullmatch(record.content_id) or record.files.get(WEIGHTS) != record.content_id:
        raise IntegrityFailure("the record does not name its weights by their sha256")
    if not is_name(record.name) or not all(map(_FILE.fullmatch, record.files)):
        raise IntegrityFailure("the record holds a name that cannot be one")
    return record


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value`, as TOML gave it, in the type `kind` that a field of a record is declared with."""
    origin, args = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return _build(kind, value, where)
    if origin is Mapping and isinstance(value, dict):
        return {key: _read(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        are_plain = args[0] is str and {*map(type, value)} == {str}  # as the many target modules are
        return tuple(value if are_plain else (_read(args[0], item, where) for item in value))
    if origin is UnionType and type(value) not in args:
        return _read(args[0], value, where)
    if type(value) is int and abs(value) >= 2**63:
        raise IntegrityFailure(f"the record has no valid `{where}`")
    if kind is float and type(value) is int:  # who writes by hand writes 1 for 1.0
        return float(value)
    if not (value in args if origin is Literal else type(value) in (args if origin is UnionType else (kind,))):
        raise IntegrityFailure(f"the record has no valid `{where}`")
    return value


def _build(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    """The dataclass `kind` from a table; keys it does not know are left alone."""
    return kind(
        **{
            name: _read(of, table.get(name), f"{where}.{name}".lstrip("."))
            for name, of, is_needed in _fields(kind)
            if is_needed or name in table
        }
    )


@cache
def _fields(kind: Any) -> list[tuple[str, Any, bool]]:
    """Name, type and whether it must be there, of a dataclass' fields."""
    return [(f.name, f.type, f.default is MISSING and f.default_factory is MISSING) for f in fields(kind)]
