"""Download base models, convert what is not safetensors, and put image models and motion adapters together."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cavtool.errors import CavError, Incompatible, InvalidInput, NotFound
from cavtool.events import Note, OnEvent, Warn
from cavtool.models import CATALOGUE, Model, hub
from cavtool.models.catalogue import SD15
from cavtool.models.family import ADAPTER, PICKLES, PIPELINE, check_clip, check_complete, detect_family
from cavtool.models.folder import DESCRIPTION, WORDS
from cavtool.models.store import Pointer, is_remote, single_file
from cavtool.system.files import writing_to
from cavtool.system.safetensors import find_weights
from cavtool.workspace import Workspace

_CONFIGS = re.compile(r".*(\.json|\.txt)")
_ADAPTER_SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "linear",
    "clip_sample": False,
    "timestep_spacing": "linspace",
    "steps_offset": 1,
}
_PICKLED = re.compile(r"(?P<stem>diffusion_pytorch_model|pytorch_model)(?P<rest>.*)\.bin(?P<index>\.index.*)?")


def pull(
    name: str,
    *,
    base: str = "",
    revision: str = "",
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> Pointer:
    """Download a model of the catalogue, an added one or a repository on the Hub, at a commit that is then pinned.

    `base` takes the place of the image model of an AnimateDiff model: a folder, a single-file checkpoint or a
    repository. Raises NotFound, RequirementError without network or disk space, Incompatible for models that `cav`
    cannot use, IntegrityFailure; the model is listed only if all went well.
    """
    workspace = workspace or Workspace()
    models = workspace.models
    pointer = models.requested(name)
    if base:
        if not pointer.adapter:
            raise InvalidInput(
                f"`{name}` takes no `--base`", hint="it is for AnimateDiff: `cav models pull animatediff`"
            )
        pointer = replace(pointer, source=_base(base), commit="")
    _describe(pointer, on_event)
    pointer = _download(pointer, revision, on_event)
    pointer = _prepare(pointer, workspace, on_event)
    models.save(pointer)
    return pointer


def add(
    name: str,
    source: str,
    *,
    base: str = "",
    chosen: Mapping[str, int] | None = None,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> Pointer:
    """Name a folder or a repository, or a motion adapter with its image model `base`; downloads nothing.

    `chosen` may have the `num_frames`, `width` and `height` of its clips. Pickled weights of a folder are converted
    into the cache. Raises what `Models.add` and `pull` raise, and Incompatible for clips that the model cannot make.
    """
    workspace = workspace or Workspace()
    pointer = workspace.models.add(name, _base(base), source) if base else workspace.models.add(name, source)
    if pointer.is_pulled and not (base and Path(pointer.source).is_file()):
        pointer = _prepare(pointer, workspace, on_event)
    choice: dict[str, Any] = dict(chosen or {})
    pointer = replace(pointer, **choice)
    _check_clip(pointer, workspace)
    workspace.models.save(pointer)
    return pointer


def _check_clip(pointer: Pointer, workspace: Workspace) -> None:
    """Raise Incompatible for clips that the model cannot make, as far as is known before it is downloaded."""
    entry, folder = workspace.models.entry(pointer), workspace.models.folder(pointer)
    if pointer.is_pulled and folder.is_dir():
        _ = Model(pointer.name, folder, entry=entry, chosen=pointer.chosen).native
    elif entry:
        check_clip(replace(entry.usual.clip, **pointer.chosen), entry.family, pointer.name)


def remove(pointer: Pointer, workspace: Workspace) -> None:
    """Forget a model, and delete what was downloaded and prepared for it unless another model uses it."""
    models = workspace.models
    models.drop(pointer)
    shutil.rmtree(models.prepared(pointer.name), ignore_errors=True)
    others = [other for name in models.names() if (other := models.pointer(name))]
    used = {part for other in others for part in other.downloads}
    for source, commit in set(pointer.downloads) - used:
        hub.delete(source, commit)


def _base(base: str) -> str:
    """The source of an image model. Raises IntegrityFailure for a pickle, Incompatible for another kind of file."""
    path = Path(base).expanduser()
    if path.is_file() and (path.suffix.lower() in PICKLES or path.suffix.lower() != ".safetensors"):
        raise single_file(path)
    if not path.exists() and path.suffix.lower() in {*PICKLES, ".safetensors"}:
        raise NotFound(f"no file or folder `{base}`", hint="give a folder, a .safetensors file or OWNER/NAME")
    return str(path.resolve()) if path.exists() else base


def _describe(pointer: Pointer, on_event: OnEvent) -> None:
    """Report the licence."""
    if entry := CATALOGUE.get(pointer.name):
        report = Note if entry.commercial else Warn
        suffix = "" if entry.commercial else ": not for commercial use"
        on_event(report(f"`{pointer.name}` is licensed under {entry.licence}{suffix}"))


def _download(pointer: Pointer, revision: str, on_event: OnEvent) -> Pointer:
    """Download everything on the Hub; returns the pointer with its commits."""
    if is_remote(pointer.source):
        listing = hub.list_files(pointer.source, revision or pointer.commit)
        if not pointer.adapter:
            pointer = replace(pointer, family=_check_before(listing, pointer.name))
        _download_files(listing, on_event)
        pointer = replace(pointer, commit=listing.commit)
    elif Path(pointer.source).is_file():
        listing = hub.list_files(SD15, pointer.commit)
        _download_files(listing, on_event, only=_CONFIGS)
        pointer = replace(pointer, commit=listing.commit)
    if is_remote(pointer.adapter):
        listing = hub.list_files(pointer.adapter, pointer.adapter_commit)
        _download_files(listing, on_event)
        pointer = replace(pointer, adapter_commit=listing.commit)
    return pointer


def _download_files(listing: hub.Listing, on_event: OnEvent, only: re.Pattern[str] | None = None) -> None:
    paths = [path for path in hub.choose_files(listing.files) if only is None or only.fullmatch(path)]
    size = sum(listing.files[path] for path in paths)
    on_event(Note(f"`{listing.source}` at {listing.commit[:12]}: {size / 1e9:.2f} GB in {len(paths)} files"))
    hub.download(listing, paths, on_event)


def _check_before(listing: hub.Listing, name: str) -> str:
    """The family, from the configs alone, so that an unusable model is refused before its weights are downloaded."""
    configs = [path for path in listing.files if path in {PIPELINE, "config.json"} or path.endswith("/config.json")]
    was_there = hub.snapshot(listing.source, listing.commit).exists()
    folder = hub.download(listing, configs)
    try:
        return detect_family(folder, name)
    except CavError:
        if not was_there:
            hub.delete(listing.source, listing.commit)
        raise


def _prepare(pointer: Pointer, workspace: Workspace, on_event: OnEvent) -> Pointer:
    """Convert and put together what has to be; the pointer says whether the result is in the cache of `cav`."""
    source, adapter = _place(pointer.source, pointer.commit), _place(pointer.adapter, pointer.adapter_commit)
    if not pointer.adapter and not _pickled_files(source):
        family = detect_family(source, pointer.name)
        check_complete(source, family, pointer.name, "download it again")
        return replace(pointer, prepared=False, family=family)
    with _replacing(workspace.models.prepared(pointer.name)) as part:
        if source.is_file():
            from cavtool.core.backbones.convert import convert_checkpoint

            on_event(Note(f"converting `{source.name}`"))
            convert_checkpoint(source, _place(SD15, pointer.commit), part)
        else:
            _copy_pipeline(source, part, on_event)
        if pointer.adapter:
            _check_fit(adapter, part)
            _copy_part(adapter, part / ADAPTER, on_event)
            _set_schedule(part / "scheduler" / "scheduler_config.json")
        family = detect_family(part, pointer.name)
        check_complete(part, family, pointer.name, "download it again")
    return replace(pointer, prepared=True, family=family)


def _place(source: str, commit: str) -> Path:
    """The folder or file of a source."""
    return hub.snapshot(source, commit) if is_remote(source) else Path(source)


def _copy_pipeline(source: Path, target: Path, on_event: OnEvent) -> None:
    """The pipeline folder with all weights as safetensors; what needs no conversion is linked if possible."""
    target.mkdir(parents=True)
    for name in (PIPELINE, DESCRIPTION, WORDS):
        if (source / name).exists():
            _link(source / name, target / name)
    for part in sorted(folder for folder in source.iterdir() if folder.is_dir() and folder.name[0] != "."):
        _copy_part(part, target / part.name, on_event)


def _copy_part(source: Path, target: Path, on_event: OnEvent) -> None:
    """The folder of one model of a pipeline."""
    target.mkdir(parents=True)
    pickled = _pickled_files(source)
    for file in sorted(each for each in source.iterdir() if each.is_file()):
        match = _PICKLED.fullmatch(file.name)
        if match and file in pickled:
            _convert(file, target / _PICKLED.sub(_safetensors_name, file.name), on_event)
        elif not match:
            _link(file, target / file.name)


def _pickled_files(folder: Path) -> list[Path]:
    """Files with pickled weights in the folder of a model, or in those of a pipeline's models without safetensors."""
    if not folder.is_dir():
        return []
    parts = [folder, *(each for each in folder.iterdir() if each.is_dir())]
    files = [file for part in parts if find_weights(part) is None for file in part.iterdir()]
    return [file for file in files if _PICKLED.fullmatch(file.name)]


def _convert(file: Path, target: Path, on_event: OnEvent) -> None:
    """Pickled weights to safetensors, or the index of such files to that of the converted ones."""
    if file.suffix == ".json":
        index = json.loads(file.read_text(encoding="utf-8"))
        names = index["weight_map"].items()
        index["weight_map"] = {key: _PICKLED.sub(_safetensors_name, name) for key, name in names}
        target.write_text(json.dumps(index), encoding="utf-8")
        return
    from cavtool.core.backbones.convert import convert_pickle

    on_event(Note(f"converting `{file.parent.name}/{file.name}` to safetensors"))
    convert_pickle(file, target)


def _safetensors_name(pickled: re.Match[str]) -> str:
    """The name that `save_pretrained` gives to safetensors: pytorch_model.bin to model.safetensors."""
    stem = "model" if pickled["stem"] == "pytorch_model" else pickled["stem"]
    return f"{stem}{pickled['rest']}.safetensors{pickled['index'] or ''}"


def _check_fit(adapter: Path, base: Path) -> None:
    """Raise Incompatible unless the motion adapter was made for UNets like that of the base."""
    try:
        ours = json.loads((adapter / "config.json").read_text(encoding="utf-8"))
        unet = json.loads((base / "unet" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        hint = "give a motion adapter's folder, and a Stable Diffusion 1.5 model as `--base`"
        raise Incompatible(f"cannot read a motion adapter and a UNet: {error}", hint=hint) from error
    if ours.get("_class_name") != "MotionAdapter":
        raise Incompatible(f"`{adapter.name}` is a {ours.get('_class_name')}, not a motion adapter")
    if ours.get("block_out_channels") != unet.get("block_out_channels"):
        hint = "use an adapter made for the same version of Stable Diffusion"
        raise Incompatible("the motion adapter does not fit the image model", hint=hint)


def _set_schedule(file: Path) -> None:
    """Change the noise schedule of an image model to that of AnimateDiff's motion adapters, as their model cards do."""
    config = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()  # a link to the image model's file
    file.write_text(json.dumps(config | _ADAPTER_SCHEDULE, indent=2), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """A symbolic link to the file, or a copy on systems that refuse one."""
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A folder to build beside `target`, which it replaces unless an error is raised. Raises RequirementError."""
    part = target.with_name(f".part-{target.name}")
    with writing_to(target.parent):
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
