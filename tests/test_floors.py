"""Imports go down the floors of the house only; torch, and what needs it, stays on its own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import cavtool

PACKAGE = Path(cavtool.__file__).parent
FLOORS = (
    {"errors", "events", "names", "schema", "system"},
    {"settings", "recipes", "registry", "runs", "history", "workspace", "prune", "models", "video"},
    {"core"},
    {"mini", "mini2", "studio", "doctor"},
    {"cli", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# core is handed what it needs of the floor below, except the recipes.
CORE_MAY_IMPORT = {"core", "errors", "events", "names", "schema", "system", "recipes"}
HEAVY = {"accelerate", "diffusers", "peft", "torch", "transformers"}
MAY_BE_HEAVY = {"core", "mini", "mini2", "studio"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(file: Path) -> Iterator[str]:
    """Every module a file names in an import, wherever in the file, as a dotted path; `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def ours(file: Path) -> set[str]:
    """The rooms of this package that a file imports; its own __init__ (`cavtool.__version__`) is no room."""
    parts = [name.split(".") for name in imports(file)]
    return {part[1] for part in parts if part[0] == "cavtool" and len(part) > 1 and not part[1].startswith("__")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_from_its_floor_or_below(file: Path) -> None:
    if file.parent == PACKAGE and file.name == "__init__.py":  # the public names, loaded lazily, come from everywhere
        return
    above = {name for name in ours(file) if FLOOR[name] > FLOOR[room(file)]}
    assert not above


@pytest.mark.parametrize("file", sorted((PACKAGE / "core").rglob("*.py")), ids=lambda file: file.name)
def test_core_knows_only_recipes_and_what_is_below(file: Path) -> None:
    assert ours(file) <= CORE_MAY_IMPORT


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_torch_floors_name_torch(file: Path) -> None:
    named = {name.partition(".")[0] for name in imports(file)}
    assert room(file) in MAY_BE_HEAVY or not named & HEAVY


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_models_come_in_through_the_backbones_only(file: Path) -> None:
    if room(file) in {"mini", "mini2"} or "backbones" in file.parts:  # they build the models that ship
        return
    assert not [name for name in imports(file) if re.match(r"transformers\b|diffusers\b(?!\.utils)", name)]


def test_every_room_has_a_floor() -> None:
    assert {room(file) for file in FILES} - {"__init__"} <= FLOOR.keys()
