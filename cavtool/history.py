"""The videos generated and edited on this machine, the latest last: one line of JSON each."""

import errno
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cavtool import schema
from cavtool.errors import IntegrityFailure, NotFound
from cavtool.recipes import EditRecipe, SampleRecipe
from cavtool.system.files import read_lines, writing_to


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
            if self.file.exists() and not self.file.is_file():  # a pipe would keep the writer waiting
                raise OSError(errno.EINVAL, "not a regular file", str(self.file))
            with self.file.open("ab") as opened:
                opened.write(b"" if _ends_in_newline(self.file) else b"\n")
                opened.write(json.dumps(line).encode() + b"\n")

    def entries(self) -> list[Entry | EditEntry]:
        """Every entry that can be read, the earliest first."""
        return [each for each in self._read() if not isinstance(each, IntegrityFailure)]

    def damaged(self) -> list[IntegrityFailure]:
        """Why other lines cannot be read: they are cut short, or a newer version wrote them."""
        return [each for each in self._read() if isinstance(each, IntegrityFailure)]

    def clear(self) -> int:
        """Forget all entries; returns how many there were. The videos are kept. Raises RequirementError."""
        num_entries = len(self.entries())
        with writing_to(self.file.parent):
            self.file.unlink(missing_ok=True)
        return num_entries

    def entry(self, number: int) -> Entry | EditEntry:
        """The entry of that number. Raises NotFound."""
        for each in self.entries():
            if each.number == number:
                return each
        raise NotFound(f"no video number {number}", hint="`cav history` lists them")

    def _read(self) -> Iterator[Entry | EditEntry | IntegrityFailure]:
        for number, line in enumerate(read_lines(self.file), 1):
            if line:
                yield _parse(number, line)


def _parse(number: int, line: str) -> Entry | EditEntry | IntegrityFailure:
    """The entry in a line, or why it cannot be read."""
    what = f"line {number} of the history"
    try:
        if not isinstance(parsed := schema.parse_json(line), dict):
            raise ValueError("it is no object")  # noqa: TRY004, TRY301 handled as what the parser raises
        fields = {**parsed, "number": number}
        kind: type[Entry | EditEntry] = EditEntry if "video" in fields else Entry
        return schema.read(fields, kind, what)
    except ValueError as error:
        return IntegrityFailure(f"{what} is not a history entry: {error}")
    except IntegrityFailure as failure:
        return failure


def _ends_in_newline(file: Path) -> bool:
    """Whether the last line was written completely; True for an empty file."""
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - 1))
        return opened.read() in {b"", b"\n"}
