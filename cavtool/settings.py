"""The user's settings. In order of precedence: the option, the environment, the file, the default.

`cav config` edits the file and keeps its comments. Each setting has its own variable: `generate.steps` is
CAV_GENERATE_STEPS. A key of one word applies to every command that has an option of that name.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cavtool import schema
from cavtool.errors import IntegrityFailure, InvalidInput, closest
from cavtool.recipes import MAX_GUIDANCE, MAX_RANK, MAX_SAMPLING_STEPS, LearnRecipe, SampleRecipe
from cavtool.system.files import read_text, write_atomic, writing_to

Scalar = str | int | float
Source = Literal["environment", "file", "default"]


@dataclass(frozen=True)
class Setting:
    """A key, its default and its description; `allowed` and `range` say which values commands take.

    A tuple is a list of folders. A default of None is the model's own; then `of_model` is the type of the value.
    """

    key: str
    default: Scalar | tuple[str, ...] | None
    about: str
    allowed: Callable[[Any], object] = lambda _: True
    range: str = ""
    of_model: type[int] | type[float] = int

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"CAV_{self.key.upper().replace('.', '_')}"

    def parse(self, text: str) -> Scalar | tuple[str, ...]:
        """The value in a text; folders are separated as in PATH. Raises InvalidInput."""
        if isinstance(self.default, tuple):
            return tuple(filter(None, text.split(os.pathsep)))
        try:
            value = self._type(text)
        except ValueError:
            raise self._wrong(text) from None
        return self._in_range(value)

    def check(self, value: Any) -> Scalar | tuple[str, ...]:
        """The value as TOML gave it, if it is of the right type. Raises InvalidInput otherwise."""
        kind: Any = tuple[str, ...] if isinstance(self.default, tuple) else self._type
        try:
            checked = schema.read(value, kind, self.key)
        except IntegrityFailure:
            raise self._wrong(value) from None
        return self._in_range(checked)

    def _in_range(self, value: Any) -> Scalar | tuple[str, ...]:
        if not self.allowed(value):
            raise InvalidInput(f"`{self.key}` must be {self.range}, not `{value}`", hint="`cav config list` shows all")
        checked: Scalar | tuple[str, ...] = value
        return checked

    @property
    def _type(self) -> Any:
        return self.of_model if self.default is None else type(self.default)

    def _wrong(self, value: object) -> InvalidInput:
        kind = {str: "text", int: "a whole number", float: "a number", tuple: "a list of folders"}[self._type]
        return InvalidInput(f"`{self.key}` is {kind}, not `{value}`")


@dataclass(frozen=True)
class Value:
    """The value of a setting, and its source."""

    value: Scalar | tuple[str, ...] | None
    source: Source


SETTINGS = {
    setting.key: setting
    for setting in (
        Setting(
            "model", SampleRecipe.model, "base model: a name, or a pipeline's folder", str.strip, "a name or a folder"
        ),
        Setting(
            "device",
            SampleRecipe.device,
            "cpu, cuda, mps, or auto",
            re.compile(r"auto|cpu|mps|cuda(:\d+)?").fullmatch,
            "one of auto, cpu, mps, cuda, or cuda:1",
        ),
        Setting(
            "generate.steps",
            SampleRecipe.steps,
            "sampling steps",
            lambda steps: 1 <= steps <= MAX_SAMPLING_STEPS,
            f"from 1 to {MAX_SAMPLING_STEPS}",
        ),
        Setting(
            "generate.guidance",
            SampleRecipe.guidance,
            "how closely to follow the prompt",
            lambda guidance: 0 <= guidance <= MAX_GUIDANCE,
            f"from 0 to {MAX_GUIDANCE:g}",
            float,
        ),
        Setting(
            "learn.steps",
            LearnRecipe.steps,
            "training steps of the motion (0: until trials get no better)",
            lambda steps: 0 <= steps < math.inf,
            "0 or more",
        ),
        Setting(
            "learn.rank", LearnRecipe.rank, "rank of the LoRAs", lambda r: 1 <= r <= MAX_RANK, f"from 1 to {MAX_RANK}"
        ),
        Setting("registry.paths", (), "folders of motions to share, read and never written"),
    )
}


def find(key: str) -> Setting:
    """The setting with this key. Raises InvalidInput, with the closest key in the hint."""
    if key not in SETTINGS:
        raise InvalidInput(f"no setting `{key}`", hint=closest(key, SETTINGS, "see `cav config list`"))
    return SETTINGS[key]


class Settings:
    """The settings of one file, which need not exist, and of this process's environment."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def get(self, key: str) -> Value:
        """The value of a setting. Raises InvalidInput, also for a bad value in the file or in a variable."""
        setting = find(key)
        if text := os.environ.get(setting.variable):
            with _naming(f"variable `{setting.variable}`"):
                return Value(setting.parse(text), "environment")
        found: Any = self._read()
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            return Value(setting.default, "default")
        with _naming(f"`{self.file}`"):
            return Value(setting.check(found), "file")

    def put(self, key: str, text: str) -> None:
        """Set a value in the file. Raises InvalidInput, RequirementError."""
        import tomlkit

        value = find(key).parse(text)
        with self._writing():
            table = document = self._document()
            *tables, last = key.split(".")
            for part in tables:
                table = table.setdefault(part, tomlkit.table())
                if not isinstance(table, Mapping):
                    raise InvalidInput(f"`{part}` in `{self.file}` is not a table", hint="`cav config edit` opens it")
            table[last] = [_absolute(folder) for folder in value] if isinstance(value, tuple) else value
            self._save(document.as_string())

    def drop(self, key: str) -> bool:
        """Remove a value from the file; returns whether the file had one."""
        find(key)
        with self._writing():
            table = document = self._document()
            *tables, last = key.split(".")
            for part in tables:
                table = table.get(part, {}) if isinstance(table, Mapping) else {}
            if not isinstance(table, MutableMapping) or last not in table:
                return False
            del table[last]
            self._save(document.as_string())
        return True

    def unknown_keys(self) -> list[str]:
        """Keys in the file that are not settings."""
        return [key for key in _flat(self._read()) if key not in SETTINGS]

    def shared_registries(self) -> list[Path]:
        """The folders of shared motions, in the order they are searched. Raises InvalidInput."""
        folders = self.get("registry.paths").value
        try:
            return [Path(folder).expanduser() for folder in folders] if isinstance(folders, tuple) else []
        except RuntimeError as error:  # `~nobody`
            raise InvalidInput(f"`registry.paths` names the home of an unknown user: {error}") from error

    def option_defaults(self, command: str) -> dict[str, Any]:
        """The options of a command whose default the user has set. Raises InvalidInput."""
        defaults = {}
        for key in SETTINGS:
            of, _, option = key.rpartition(".")
            if of in {"", command} and (found := self.get(key)).source != "default":
                defaults[option] = found.value
        return defaults

    def _text(self) -> str:
        try:
            return read_text(self.file)
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InvalidInput(
                f"cannot read `{self.file}`: {reason}", hint="repair the file, or move it away"
            ) from error

    def _read(self) -> dict[str, Any]:
        try:
            return schema.parse_toml(self._text(), f"`{self.file}`")
        except IntegrityFailure as failure:
            raise InvalidInput(failure.message, hint="`cav config edit` opens it") from failure

    def _document(self) -> Any:
        """The file with its comments, to be edited. Raises InvalidInput if it is not TOML."""
        import tomlkit

        self._read()
        return tomlkit.parse(self._text())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of the file, so that no change of another process is lost."""
        from filelock import FileLock

        with writing_to(self.file.parent):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.file.with_name(f".{self.file.name}.lock")):
                yield

    def _save(self, text: str) -> None:
        write_atomic(self.file, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Name the source of a setting in the error about its value."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"{error.message} (in {source})", hint=error.hint) from error


def _absolute(folder: str) -> str:
    """A path that does not depend on the current folder."""
    return folder if folder.startswith("~") else str(Path(folder).absolute())


def _flat(table: Mapping[str, Any], before: str = "") -> list[str]:
    keys = []
    for key, value in table.items():
        keys += _flat(value, f"{before}{key}.") if isinstance(value, dict) else [f"{before}{key}"]
    return keys
