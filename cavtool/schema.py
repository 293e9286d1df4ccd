"""Tables of TOML and JSON to frozen dataclasses, and back. The only module that uses msgspec.

Reading is strict: no text becomes a number, no number a bool; a whole number is accepted for a float.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from cavtool.errors import CavError, IntegrityFailure

_T = TypeVar("_T")
_AT = " - at `$"  # precedes the field in msgspec's messages, as in "Expected `int`, got `str` - at `$.clip.fps`"
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`")
_WITHIN_MAPPING = "[...]"  # how msgspec writes a key it does not name


def read(
    value: object,
    kind: type[_T],
    what: str,
    *,
    error: type[CavError] = IntegrityFailure,
    hint: str | None = None,
    refuse_unknown: bool = False,
) -> _T:
    """Convert `value`, as TOML or JSON gave it, to `kind`: a dataclass, or any type a field may have.

    Keys without a field are ignored unless `refuse_unknown`. Raises `error`; its message begins with `what` and names
    the field, as in "the record has no valid `clip.fps`: ...". So does a ValueError of a `__post_init__`.
    """
    import msgspec  # 8 ms that `cav --help` does not need

    try:
        if found := next(_bad_numbers(value), None):
            raise error(_invalid(what, *found), hint=hint)
        if refuse_unknown and (unknown := next(_unknown_keys(value, kind), None)):
            raise error(f"{what} has an unknown key: `{unknown}`", hint=hint)
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as failure:
        raise error(_explain(what, str(failure)), hint=hint) from failure
    except RecursionError as failure:
        raise error(f"{what} is nested too deeply", hint=hint) from failure


def to_table(value: object) -> dict[str, Any]:
    """A dataclass as plain values for TOML and JSON; fields that are None are left out."""
    import msgspec

    table: dict[str, Any] = _without_none(msgspec.to_builtins(value))
    return table


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """The table in a TOML text. Raises IntegrityFailure."""
    import tomli  # the parser of tomllib, compiled: five times as fast

    try:
        return tomli.loads(text)
    except (ValueError, RecursionError) as error:
        raise IntegrityFailure(f"{what} is not TOML: {error}") from error


def parse_json(text: str) -> Any:
    """The value in untrusted JSON. Raises ValueError for every text that cannot be used."""
    import json

    try:
        value = json.loads(text)
        json.dumps(
            value, ensure_ascii=False
        ).encode()  # refuses lone surrogates, which cannot be written to a file or terminal
    except RecursionError as error:
        raise ValueError("the text is nested too deeply") from error
    return value


def to_toml(value: object) -> str:
    """A dataclass as TOML, without empty lists. Its fields with plain values must come before those with tables."""
    import tomlkit

    return tomlkit.dumps({key: item for key, item in to_table(value).items() if item != []})


def _explain(what: str, message: str) -> str:
    """A message of msgspec in our words."""
    before, at, after = message.rpartition(_AT)
    reason, field = (before, after.strip(".`").replace(_WITHIN_MAPPING, "")) if at else (message, "")
    if missing := _MISSING.fullmatch(reason):
        return f"{what} has no `{_joined(field, missing['field'])}`"
    return _invalid(what, field, reason[:1].lower() + reason[1:])


def _invalid(what: str, field: str, reason: str) -> str:
    return f"{what} has no valid `{field}`: {reason}" if field else f"{what} is not valid: {reason}"


def _bad_numbers(value: object, field: str = "") -> Iterator[tuple[str, str]]:
    """Fields with an integer beyond 64 bits, which other TOML readers refuse, NaN or infinity; and what is wrong."""
    if isinstance(value, int):
        if abs(value) >= 2**63:
            yield field, "the number is too large"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield field, f"{value} is not a finite number"
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(item, str):  # most values are text, and a generator for each takes time
                yield from _bad_numbers(item, _joined(field, key))
    elif isinstance(value, list):
        for item in value:
            yield from _bad_numbers(item, field)


def _unknown_keys(value: object, kind: Any, field: str = "") -> Iterator[str]:
    """Keys of a table, nested ones included, that do not match a field of the dataclass."""
    if not isinstance(value, dict):
        return
    for one in (kind, *get_args(kind)):  # the type itself, or the members of a union such as `Outcome | None`
        if is_dataclass(one):
            types = get_type_hints(one)
            for key, item in value.items():
                name = _joined(field, key)
                yield from _unknown_keys(item, types[key], name) if key in types else (name,)


def _joined(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
