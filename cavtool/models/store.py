"""The models of one home: those of the catalogue, those that `pull` downloaded, those that `add` named."""

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cavtool import schema
from cavtool.errors import CavError, Conflict, Incompatible, IntegrityFailure, InvalidInput, NotFound, RequirementError
from cavtool.errors import closest as closest_name
from cavtool.models import hub
from cavtool.models.catalogue import CATALOGUE, Entry, entry_of
from cavtool.models.family import PICKLES, check_complete, detect_family
from cavtool.models.model import Model
from cavtool.names import check_name
from cavtool.system.files import read_text, write_atomic, writing_to
from cavtool.system.safetensors import read_header

SCHEMA = 1
_SHOWN = 60  # characters of a name that cannot be one
_LONGEST_PATH, _LONGEST_PART = 1024, 250  # characters of a path, bytes of one of its parts


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """Where a model is: one TOML file.

    `source` is a folder, a single-file checkpoint or a repository on the Hub, and `adapter` likewise a motion adapter
    for it, or empty. Both commits are pinned when they are downloaded. `prepared` models are in the cache of `cav`,
    put together from both or converted to safetensors. `family` is empty until it is known. `num_frames`,
    `width` and `height` are the model's own if 0.
    """

    schema: int = SCHEMA
    name: str
    source: str
    commit: str = ""
    adapter: str = ""
    adapter_commit: str = ""
    family: str = ""
    prepared: bool = False
    num_frames: int = 0
    width: int = 0
    height: int = 0

    @property
    def chosen(self) -> dict[str, int]:
        """The fields of NativeClip that the user chose."""
        values = {"num_frames": self.num_frames, "width": self.width, "height": self.height}
        return {key: value for key, value in values.items() if value}

    @property
    def downloads(self) -> list[tuple[str, str]]:
        """The repositories that were downloaded, and their commits."""
        parts = ((self.source, self.commit), (self.adapter, self.adapter_commit))
        return [(source, commit) for source, commit in parts if commit and is_remote(source)]

    @property
    def is_pulled(self) -> bool:
        """Whether every part that is on the Hub has been downloaded."""
        parts = ((self.source, self.commit), (self.adapter, self.adapter_commit))
        return all(commit or not is_remote(source) for source, commit in parts)


class Models:
    """The models of a home. `root` holds the pointers, `cache` checksums and prepared models; None for no such folder.

    Reading changes nothing, and nothing here uses the network.
    """

    def __init__(self, root: Path | None = None, cache: Path | None = None) -> None:
        self.root, self.cache = root, cache

    def find(self, name: str) -> Model:
        """A model by its name, the path of a diffusers pipeline folder, or the name of a repository on the Hub.

        The path of a model of the catalogue gives that model. Raises NotFound; RequirementError, with the command to
        run, if it is not downloaded; IntegrityFailure if it is incomplete; Incompatible if it cannot be used.
        """
        _check_name(name)
        if name in CATALOGUE and (folder := CATALOGUE[name].folder):
            return Model(name, folder, self.cache, named=name, entry=CATALOGUE[name])
        if pointer := self.pointer(name):
            return self._open(pointer)
        if name in CATALOGUE:
            raise _not_pulled(name)
        path = _as_path(name)
        for known in CATALOGUE.values():
            if known.folder and known.folder.resolve() == path:
                return self.find(known.name)
        if path.is_dir():
            model = Model(path.name, path, self.cache)
            check_usable(path, path.name)
            return model
        if path.is_file():
            raise single_file(path)
        if entry := entry_of(name):
            return self.find(entry.name)
        if hub.is_hub_id(name):
            raise _not_pulled(name)
        names = [*CATALOGUE, *self.names()]
        hint = f"known: {', '.join(names)}; or give a diffusers pipeline folder, or OWNER/NAME of the Hub"
        raise NotFound(f"no model `{name}`", hint=closest_name(name, names, hint))

    def names(self) -> list[str]:
        """The names of all pointers, in order."""
        return sorted(pointer.name for file in self._files() if (pointer := _read(file)))

    def pointer(self, name: str) -> Pointer | None:
        """The pointer of a model; None if there is none. Raises IntegrityFailure if it is damaged."""
        file = self._file(name)
        if file is None or not file.exists():
            return None
        hint = f"delete it, then add or pull `{name}` again"
        try:
            table = schema.parse_toml(read_text(file), f"`{file}`")
        except (OSError, UnicodeDecodeError) as error:
            raise IntegrityFailure(f"cannot read `{file}`: {error}", hint=hint) from error
        pointer = schema.read(table, Pointer, f"`{file}`", hint=hint)
        return pointer if pointer.name == name else None

    def add(self, name: str, source: str, adapter: str = "") -> Pointer:
        """Name a folder, checkpoint or repository, or one with a motion adapter; the pointer is not saved yet.

        Raises InvalidInput for a bad name, Conflict for a taken one, and what `find` raises for an unusable folder.
        """
        _check_name(source)
        if name in CATALOGUE or self.pointer(check_name(name)):
            raise Conflict(f"model `{name}` already exists", hint="choose another name, or `cav models rm` it first")
        pointer = Pointer(name=name, source=_located(source), adapter=_located(adapter) if adapter else "")
        if adapter:
            return replace(pointer, family="animatediff")
        if is_remote(pointer.source):
            entry = entry_of(pointer.source)
            return replace(pointer, family=entry.family if entry else "")
        folder = Path(pointer.source)
        if folder.is_file():
            raise single_file(folder)
        return replace(pointer, family=detect_family(folder))

    def save(self, pointer: Pointer) -> None:
        """Write a pointer; a model of that name is replaced. Raises RequirementError."""
        file = self._file(pointer.name)
        if file is None:
            raise RequirementError("there is no home to keep models in", hint="set `CAV_HOME` to a writable folder")
        with writing_to(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            text = schema.to_toml(pointer)
            write_atomic(file, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))

    def drop(self, pointer: Pointer) -> None:
        """Delete a pointer."""
        if file := self._file(pointer.name):
            file.unlink(missing_ok=True)

    def requested(self, name: str) -> Pointer:
        """The pointer for a name given to `pull`, which may be new. Raises NotFound, InvalidInput for cav-mini."""
        if pointer := self.pointer(name):
            return pointer
        if entry := CATALOGUE.get(name):
            if entry.folder:
                raise InvalidInput(f"`{name}` comes with `cav`: there is nothing to pull")
            return Pointer(name=name, source=entry.source, adapter=entry.adapter, family=entry.family)
        if entry := entry_of(name):
            return self.requested(entry.name)
        if hub.is_hub_id(name):
            return Pointer(name=name, source=name)
        raise NotFound(
            f"no model `{name}`", hint=closest_name(name, [*CATALOGUE, *self.names()], "see `cav models list`")
        )

    def folder(self, pointer: Pointer) -> Path:
        """The pipeline folder of a pointer, which need not exist."""
        if pointer.prepared or pointer.adapter:
            return self.prepared(pointer.name)
        return hub.snapshot(pointer.source, pointer.commit) if is_remote(pointer.source) else Path(pointer.source)

    def prepared(self, name: str) -> Path:
        """Where the cache of `cav` keeps a model that it has put together or converted."""
        return (self.cache or Path()) / "models" / _slug(name)

    def _open(self, pointer: Pointer) -> Model:
        folder = self.folder(pointer)
        if not pointer.is_pulled or (not folder.exists() and (pointer.prepared or pointer.commit)):
            raise _not_pulled(pointer.name)
        if not folder.exists():
            hint = f"move it back, or `cav models rm {pointer.name}` and add it again"
            raise NotFound(f"the folder of `{pointer.name}` is gone: `{folder}`", hint=hint)
        check_usable(folder, pointer.name, f"`cav models pull {pointer.name}`")
        named, commit = pointer.name, "+".join(commit for _, commit in pointer.downloads)
        return Model(
            named, folder, self.cache, named=named, commit=commit, entry=self.entry(pointer), chosen=pointer.chosen
        )

    def entry(self, pointer: Pointer) -> Entry | None:
        """What the catalogue knows of a pointer's model."""
        return CATALOGUE.get(pointer.name) or entry_of(pointer.source)

    def _files(self) -> list[Path]:
        return sorted(self.root.glob("*.toml")) if self.root and self.root.is_dir() else []

    def _file(self, name: str) -> Path | None:
        file = f"{_slug(name)}.toml"  # of a path, it may be too long for a file
        return self.root / file if self.root and len(os.fsencode(file)) <= _LONGEST_PART else None


def find_model(name: str, *, cache: Path | None = None) -> Model:
    """A model of the catalogue that comes with the package, or a folder, without a home; else as `Models.find`."""
    return Models(cache=cache).find(name)


def check_usable(folder: Path, name: str, command: str = "download it again") -> None:
    """Check that a pipeline folder is complete and of a family that `cav` runs.

    Raises IntegrityFailure, with the command in the hint, and Incompatible.
    """
    family = detect_family(folder, name)
    check_complete(folder, family, name, f"{command} finishes the download" if "`" in command else command)


def is_remote(source: str) -> bool:
    """Whether the source of a pointer is a repository on the Hub."""
    return bool(source) and not Path(source).is_absolute()


def single_file(path: Path) -> CavError:
    """The error for a file where a pipeline folder is needed."""
    if path.suffix.lower() in PICKLES:
        message = f"`{path.name}` is a pickle, which can run code when it is loaded"
        return IntegrityFailure(message, hint="use a safetensors file or a diffusers pipeline folder")
    if path.suffix.lower() != ".safetensors":
        hint = "a pipeline folder has a `model_index.json`"
    elif _is_lora(path):
        hint = f"`cav generate PROMPT --style {path}` uses its appearance, `cav import {path}` its motion"
        return Incompatible(f"`{path.name}` is a LoRA, not a base model", hint=hint)
    else:
        hint = f"if it is a Stable Diffusion 1.5 model: `cav models pull animatediff --base {path}`"
    return Incompatible(f"`{path.name}` is a single file, not a diffusers pipeline folder", hint=hint)


def _is_lora(path: Path) -> bool:
    with suppress(CavError):
        return any("lora" in key for key in read_header(path))
    return False


def _located(source: str) -> str:
    """A folder or file as an absolute path; the name of a repository on the Hub unchanged. Raises NotFound."""
    path = _as_path(source)
    if path.exists():
        return str(path)
    if hub.is_hub_id(source):
        return source
    raise NotFound(f"no folder `{source}`", hint="give a folder, or OWNER/NAME of the Hub")


def _read(file: Path) -> Pointer | None:
    """A pointer; None if it is damaged."""
    with suppress(CavError, OSError, UnicodeDecodeError):
        return schema.read(schema.parse_toml(read_text(file), ""), Pointer, "")
    return None


def _not_pulled(name: str) -> RequirementError:
    return RequirementError(f"`{name}` is not on this machine", hint=f"download it: `cav models pull {name}`")


def _check_name(name: str) -> None:
    """Raise InvalidInput for what is neither a name nor a path on any file system."""
    if not name.strip():
        raise InvalidInput("the name of the base model is empty", hint="see `cav models list`")
    parts = os.fsencode(name).split(b"/")
    if "\0" in name or len(name) > _LONGEST_PATH or max(map(len, parts)) > _LONGEST_PART:
        shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
        message = f"`{shown}` cannot be a base model: no file has such a name"
        raise InvalidInput(message, hint="see `cav models list`")


def _as_path(name: str) -> Path:
    try:
        return Path(name).expanduser().resolve()
    except RuntimeError:  # `~nobody`
        return Path(name)


def _slug(name: str) -> str:
    return name.replace("/", "+")  # no name contains a plus
