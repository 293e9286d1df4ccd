"""Tables to dataclasses and back: reading is strict, and every error names the field."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import pytest

from cavtool import schema
from cavtool.errors import CavError, IntegrityFailure, InvalidInput


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    rate: float
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["big", "small"] = "big"
    colour: Colour = Colour.RED
    tags: tuple[str, ...] = ()
    values: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    inner: Inner | None = None
    more: tuple[Inner, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidInput("the name is empty")


FULL = Outer(
    name="a", tags=("x", "y"), values={"f": 0.5, "b": True, "i": 1, "s": "t"}, inner=Inner(2.0), more=(Inner(0.5, 2),)
)


@pytest.mark.parametrize("value", [FULL, Outer(name="a")])
def test_a_dataclass_survives_its_table_and_its_toml(value: Outer) -> None:
    assert schema.read(schema.to_table(value), Outer, "it") == value
    assert schema.read(tomllib.loads(schema.to_toml(value)), Outer, "it") == value


def test_none_is_left_out() -> None:
    assert schema.to_table(Outer(name="a", values={"n": 1})) == {
        "name": "a",
        "kind": "big",
        "colour": "red",
        "tags": [],
        "values": {"n": 1},
        "more": [],
    }


def test_a_whole_number_is_accepted_for_a_float_and_unknown_keys_are_ignored() -> None:
    inner = schema.read({"rate": 2, "new": 1}, Inner, "it")
    assert inner == Inner(2.0)
    assert isinstance(inner.rate, float)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "the file has no `name`"),
        ({"name": "a", "inner": {}}, "the file has no `inner.rate`"),
        ({"name": 1}, "the file has no valid `name`: expected `str`, got `int`"),
        ({"name": "a", "kind": "huge"}, "the file has no valid `kind`: invalid enum value 'huge'"),
        ({"name": "a", "colour": "blue"}, "the file has no valid `colour`: invalid enum value 'blue'"),
        ({"name": "a", "tags": [1]}, "the file has no valid `tags[0]`: expected `str`, got `int`"),
        ({"name": "a", "values": {"v": []}}, "the file has no valid `values`: expected "),
        ({"name": "a", "inner": {"rate": True}}, "the file has no valid `inner.rate`: expected `float`, got `bool`"),
        ({"name": "a", "inner": {"rate": "1"}}, "the file has no valid `inner.rate`: expected `float`, got `str`"),
        (
            {"name": "a", "inner": {"rate": 1, "count": 1.0}},
            "the file has no valid `inner.count`: expected `int`, got `float`",
        ),
        ({"name": "a", "inner": {"rate": 2**63}}, "the file has no valid `inner.rate`: the number is too large"),
        ({"name": "a", "values": {"v": -(2**63)}}, "the file has no valid `values.v`: the number is too large"),
        ({"name": "a", "more": [{"rate": 2**70}]}, "the file has no valid `more.rate`: the number is too large"),
        ({"name": ""}, "the file is not valid: the name is empty"),
        ([], "the file is not valid: expected `object`, got `array`"),
        (2**64, "the file is not valid: the number is too large"),
    ],
)
@pytest.mark.parametrize("error", [IntegrityFailure, InvalidInput])
def test_an_error_names_the_field(table: object, message: str, error: type[CavError]) -> None:
    with pytest.raises(error) as caught:
        schema.read(table, Outer, "the file", error=error, hint="write it again")
    assert caught.value.message.startswith(message)
    assert caught.value.hint == "write it again"


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"name": "a", "new": 1}, "new"),
        ({"name": "a", "inner": {"rate": 1.0, "new": 1}}, "inner.new"),
    ],
)
def test_unknown_keys_can_be_refused(table: object, key: str) -> None:
    with pytest.raises(IntegrityFailure, match=f"it has an unknown key: `{key}`"):
        schema.read(table, Outer, "it", refuse_unknown=True)


@pytest.mark.parametrize("text", ["a = ", f"a = {'9' * 5000}", f"a = {'[' * 5000}", f"{'a.' * 20_000}a = 1"])
def test_what_is_not_toml_is_refused(text: str) -> None:
    with pytest.raises(IntegrityFailure, match="the file is not TOML"):
        schema.parse_toml(text, "the file")
