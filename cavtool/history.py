"""What was generated on this machine, the latest last: one line of JSON each in `<state>/history.jsonl`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cavtool.errors import InvalidInput, NotFound
from cavtool.recipes import SampleRecipe
from cavtool.system import paths
from cavtool.system.files import writing_to


@dataclass(frozen=True)
class Entry:
    """One command's videos; `number` counts from the first there ever was."""

    number: int
    created: str
    files: tuple[str, ...]
    recipe: SampleRecipe


def remember(recipe: SampleRecipe, files: Sequence[Path]) -> None:
    """Add a recipe, its seed drawn, and what came of it. Raises RequirementError."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"created": created, "files": [str(file.resolve()) for file in files], "recipe": asdict(recipe)}
    file = _file()
    with writing_to(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as opened:
            opened.write(b"" if _ends_whole(file) else b"\n")
            opened.write(json.dumps(line).encode() + b"\n")


def entries() -> list[Entry]:
    """All that can be read, the earliest first."""
    return list(_read())


def entry(number: int) -> Entry:
    """The one of that number; NotFound if there is none."""
    for each in _read():
        if each.number == number:
            return each
    raise NotFound(f"no video number {number}", hint="`cav history` lists them")


def _file() -> Path:
    return paths.state_dir() / "history.jsonl"


def _ends_whole(file: Path) -> bool:
    """Whether its last line was written to the end."""
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - 1))
        return opened.read() in {b"", b"\n"}


def _read() -> Iterator[Entry]:
    try:
        lines = _file().read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        with suppress(ValueError, KeyError, TypeError, InvalidInput):  # a line cut short, or of a newer version
            told = json.loads(line)
            yield Entry(number, str(told["created"]), tuple(told["files"]), SampleRecipe.from_dict(told["recipe"]))
