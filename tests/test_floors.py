"""Imports go down the floors of the package only, and only the torch floors import torch."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cavtool

PACKAGE = Path(cavtool.__file__).parent
FLOORS = (
    {"_version", "errors", "events", "names", "schema", "system"},
    {"settings", "recipes", "registry", "runs", "history", "workspace", "prune", "models", "video"},
    {"core"},
    {"mini", "mini2", "studio", "doctor"},
    {"cli", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# core receives whatever else it needs as arguments.
CORE_MAY_IMPORT = {"core", "errors", "events", "names", "schema", "system", "recipes"}
HEAVY = {"accelerate", "diffusers", "peft", "torch", "transformers"}
MAY_BE_HEAVY = {"core", "mini", "mini2", "studio"}
BUILDS_MODELS = {"mini", "mini2"}
MODEL_IMPORT = re.compile(r"transformers\b|diffusers\b(?!\.utils)")
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@cache
def imports(file: Path) -> frozenset[str]:
    """The modules that a file imports anywhere, as dotted names; `from a import b` counts as `a.b`."""
    return frozenset(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room(file: Path) -> str:
    """The module or package of `cavtool` that a file belongs to."""
    return file.with_suffix("").parts[0]


def imported_rooms(file: Path) -> set[str]:
    parts = [name.split(".") for name in imports(file)]
    return {part[1] for part in parts if part[0] == "cavtool" and len(part) > 1}


def test_every_module_has_a_floor() -> None:
    assert {room(file) for file in FILES} - {"__init__"} == FLOOR.keys()


def test_imports_go_down_only() -> None:
    # The package's own __init__ offers the public names of all floors, loaded on first use.
    offenders = {
        f"{file} imports {name}"
        for file in FILES
        if room(file) != "__init__"
        for name in imported_rooms(file)
        if FLOOR[name] > FLOOR[room(file)]
    }
    assert not offenders


def test_core_imports_only_recipes_and_the_floor_below() -> None:
    offenders = {
        f"{file} imports {name}"
        for file in FILES
        if room(file) == "core"
        for name in imported_rooms(file) - CORE_MAY_IMPORT
    }
    assert not offenders


def test_only_the_torch_floors_import_torch() -> None:
    offenders = {
        f"{file} imports {name}"
        for file in FILES
        if room(file) not in MAY_BE_HEAVY
        for name in imports(file)
        if name.partition(".")[0] in HEAVY
    }
    assert not offenders


def test_only_backbones_import_model_classes() -> None:
    offenders = {
        f"{file} imports {name}"
        for file in FILES
        if room(file) not in BUILDS_MODELS and "backbones" not in file.parts
        for name in imports(file)
        if MODEL_IMPORT.match(name)
    }
    assert not offenders
