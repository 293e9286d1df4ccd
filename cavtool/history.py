"""The videos generated and edited on this machine, the latest last: one line of JSON each."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cavtool import schema
from cavtool.errors import IntegrityFailure, NotFound
from cavtool.recipes import EditRecipe, SampleRecipe
from cavtool.system.files import writing_to


@dataclass(frozen=True)
class Entry:
    """The videos of one `generate`; `number` is the line in the file, from 1, and never changes."""

    number: int
    created: str
    files: tuple[str, ...]
    recipe: SampleRecipe


@dataclass(frozen=True)
class EditEntry:
    """The video of one `edit`, and the `video` that was edited; `number` as in `Entry`."""

    number: int
    created: str
    files: tuple[str, ...]
    video: str
    recipe: EditRecipe


class History:
    """The entries of one file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, recipe: SampleRecipe | EditRecipe, files: Sequence[Path], *, video: Path | None = None) -> None:
        """Append a recipe with its seed, the files made from it, and the video it edited. Raises RequirementError."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"created": created, "files": [str(file.resolve()) for file in files], "recipe": schema.to_table(recipe)}
        line |= {"video": str(video.resolve())} if video else {}
        with writing_to(self.file.parent):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as opened:
                opened.write(b"" if _ends_in_newline(self.file) else b"\n")
                opened.write(json.dumps(line).encode() + b"\n")

    def entries(self) -> list[Entry | EditEntry]:
        """Every entry that can be read, the earliest first."""
        return list(self._read())

    def entry(self, number: int) -> Entry | EditEntry:
        """The entry of that number. Raises NotFound."""
        for each in self._read():
            if each.number == number:
                return each
        raise NotFound(f"no video number {number}", hint="`cav history` lists them")

    def _read(self) -> Iterator[Entry | EditEntry]:
        try:
            lines = self.file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for number, line in enumerate(lines, 1):
            with suppress(ValueError, TypeError, IntegrityFailure):  # cut short, or written by a newer version
                fields = {**json.loads(line), "number": number}
                kind: type[Entry | EditEntry] = EditEntry if "video" in fields else Entry
                yield schema.read(fields, kind, f"line {number}")


def _ends_in_newline(file: Path) -> bool:
    """Whether the last line was written completely; True for an empty file."""
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - 1))
        return opened.read() in {b"", b"\n"}
