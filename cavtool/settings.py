"""What the user has set: an option beats the environment, that beats the file, that beats the default.

The file is `<config>/config.toml`; `cav config` edits it and keeps its comments. Each setting has a variable of its
own: `generate.steps` is CAV_GENERATE_STEPS. Keys of one word hold for every command that has an option of that name.
"""

import os
import tomllib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cavtool.errors import InvalidInput, closest
from cavtool.recipes import LearnRecipe, SampleRecipe
from cavtool.system import paths
from cavtool.system.files import write_atomic, writing_to

Scalar = str | int | float
Source = Literal["environment", "file", "default"]


@dataclass(frozen=True)
class Setting:
    """One thing that can be set; of a tuple, every item is text."""

    key: str
    default: Scalar | tuple[str, ...]
    about: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"CAV_{self.key.upper().replace('.', '_')}"

    def parse(self, text: str) -> Scalar | tuple[str, ...]:
        """Its value from text: folders are separated as in PATH. Raises InvalidInput."""
        if isinstance(self.default, tuple):
            return tuple(filter(None, text.split(os.pathsep)))
        try:
            return type(self.default)(text)
        except ValueError:
            raise self.wrong(text) from None

    def check(self, value: Any) -> Scalar | tuple[str, ...]:
        """Its value as TOML gives it. Raises InvalidInput."""
        if isinstance(self.default, tuple):
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return tuple(value)
        elif isinstance(self.default, float) and type(value) is int:
            return float(value)
        elif type(value) is type(self.default):
            return value
        raise self.wrong(value)

    def wrong(self, value: object) -> InvalidInput:
        """What to say of a value that is none of its."""
        kind = {str: "text", int: "a whole number", float: "a number", tuple: "a list of folders"}[type(self.default)]
        return InvalidInput(f"`{self.key}` is {kind}, not `{value}`")


@dataclass(frozen=True)
class Value:
    """What a setting is, and who says so."""

    value: Scalar | tuple[str, ...]
    source: Source


SETTINGS = {
    setting.key: setting
    for setting in (
        Setting("model", SampleRecipe.model, "base model of learn and generate: a name, or a pipeline's folder"),
        Setting("device", SampleRecipe.device, "cpu, cuda, mps, or auto"),
        Setting("generate.steps", SampleRecipe.steps, "sampling steps"),
        Setting("generate.guidance", SampleRecipe.guidance, "how closely to follow the prompt"),
        Setting("learn.steps", LearnRecipe.steps, "training steps of the motion"),
        Setting("learn.rank", LearnRecipe.rank, "rank of the LoRAs"),
        Setting("registry.paths", (), "folders of motions to share, read and never written"),
    )
}
_FOR_ALL = ("generate", "learn")  # the commands that settings of one word are for


def file() -> Path:
    """Where settings are kept."""
    return paths.config_file()


def find(key: str) -> Setting:
    """The setting of that name. Raises InvalidInput with the closest one."""
    if key not in SETTINGS:
        raise InvalidInput(f"no setting `{key}`", hint=closest(key, SETTINGS, "see `cav config list`"))
    return SETTINGS[key]


def get(key: str) -> Value:
    """The value of a setting. Raises InvalidInput, also where the file or a variable holds no such value."""
    setting = find(key)
    if text := os.environ.get(setting.variable):
        return Value(setting.parse(text), "environment")
    found: Any = _read()
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        return Value(setting.default, "default")
    return Value(setting.check(found), "file")


def put(key: str, text: str) -> None:
    """Set it in the file. Raises InvalidInput, RequirementError."""
    import tomlkit

    value, document = find(key).parse(text), _document()
    table: Any = document
    *tables, last = key.split(".")
    for part in tables:
        table = table.setdefault(part, tomlkit.table())
        if not isinstance(table, Mapping):
            raise InvalidInput(f"`{part}` in `{file()}` is no table", hint="`cav config edit` opens it")
    table[last] = [_lasting(folder) for folder in value] if isinstance(value, tuple) else value
    _save(document.as_string())


def drop(key: str) -> bool:
    """Take it out of the file; whether it was there."""
    find(key)
    document = _document()
    table: Any = document
    *tables, last = key.split(".")
    for part in tables:
        table = table.get(part, {}) if isinstance(table, Mapping) else {}
    if not isinstance(table, MutableMapping) or last not in table:
        return False
    del table[last]
    _save(document.as_string())
    return True


def strangers() -> list[str]:
    """Keys in the file that mean nothing."""
    return [key for key in _flat(_read()) if key not in SETTINGS]


def shared_registries() -> list[Path]:
    """The folders of motions that are shared, in the order they are looked through."""
    folders = get("registry.paths").value
    try:
        return [Path(folder).expanduser() for folder in folders] if isinstance(folders, tuple) else []
    except RuntimeError as error:  # `~nobody`
        raise InvalidInput(f"`registry.paths` names a folder of nobody: {error}") from error


def option_defaults() -> dict[str, dict[str, Any]]:
    """For every command the options whose default somebody has set."""
    defaults: dict[str, dict[str, Any]] = {}
    for key in SETTINGS:
        command, _, option = key.rpartition(".")
        if command in {"", *_FOR_ALL} and (found := get(key)).source != "default":
            for each in (command,) if command else _FOR_ALL:
                defaults.setdefault(each, {})[option] = found.value
    return defaults


def _lasting(folder: str) -> str:
    """A folder that means the same wherever it is read."""
    return folder if folder.startswith("~") else str(Path(folder).absolute())


def _text() -> str:
    try:
        return file().read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _read() -> dict[str, Any]:
    try:
        return tomllib.loads(_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"`{file()}` is not TOML: {error}", hint="`cav config edit` opens it") from error


def _document() -> Any:
    """The file with its comments, to be changed. Raises InvalidInput where it is not TOML."""
    import tomlkit

    _read()
    return tomlkit.parse(_text())


def _save(text: str) -> None:
    path = file()
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def _flat(table: Mapping[str, Any], before: str = "") -> list[str]:
    keys = []
    for key, value in table.items():
        keys += _flat(value, f"{before}{key}.") if isinstance(value, dict) else [f"{before}{key}"]
    return keys
