"""LoRA files of other tools: written from motions and absorbers of the registry, and read as motions."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import TOKEN
from cavtool.core.adapters.existing import first_few, fit_loras
from cavtool.core.formats import export, read_loras, wan
from cavtool.core.formats.files import read_tensors
from cavtool.errors import Incompatible, IntegrityFailure, InvalidInput, NotFound, counted
from cavtool.events import Note, OnEvent
from cavtool.models import Model
from cavtool.models.family import SECOND
from cavtool.models.folder import denoiser_shapes
from cavtool.names import check_name
from cavtool.recipes import Layout
from cavtool.recipes.absorb import WEIGHT_FILES
from cavtool.registry import Asset, Record
from cavtool.registry.record import WEIGHTS
from cavtool.studio.weights import save_weights
from cavtool.system.files import check_output, output_file, write_atomic, writing_to
from cavtool.workspace import Workspace

SUFFIX = ".safetensors"
_ALONG_TIME = ("temp_attentions", "temp_convs", "transformer_in", "motion_modules")  # of the UNets


def export_loras(
    names: Sequence[str],
    layout: Layout,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> list[Path]:
    """Write motions and absorbers as LoRA files of other tools: `NAME.safetensors`, one file for each expert.

    `output` is a folder, or the file of a single name. Raises NotFound, IntegrityFailure, Incompatible if no tool reads
    one of them in this layout, and what `output_file` and `check_output` raise, all before a file is written.
    """
    workspace = workspace or Workspace()
    files: dict[Path, export.LoraFile] = {}
    for name in names:
        asset, state = workspace.registry.read(name, _read)
        for suffix, file in export.write(state, layout, name).items():
            path = _file(names, name, output)
            files[path.with_stem(f"{path.stem}_{suffix}") if suffix else path] = file
        _explain(asset, state, layout, on_event)
    for path in files:
        check_output(path, overwrite=overwrite)
    for path, file in files.items():
        with writing_to(path.parent):
            write_atomic(path, lambda part, file=file: lora.save(file.tensors, part, file.metadata))  # type: ignore[misc]
    return list(files)


def import_lora(
    path: Path,
    model: Model,
    *,
    name: str | None = None,
    replace: bool = False,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> Asset:
    """Put a LoRA of another tool, made for this model, into the registry as a motion (default name: the file's).

    Raises InvalidInput or Conflict for the name, NotFound, IntegrityFailure for a file without a LoRA, Incompatible if
    it was made for another model or changes nothing along time. Only the headers of the model's weights are read.
    """
    workspace = workspace or Workspace()
    name = check_name(path.stem.lower() if name is None else name)
    workspace.registry.check_free(name, "motion", replace=replace)
    state, unused = _fitted(path, model)
    if unused:
        entries = counted(len(unused), "entry", "entries")
        on_event(Note(f"not used: {entries} of `{path.name}` without a matching layer: {first_few(unused)}"))
    if (model.folder / SECOND).is_dir() and (expert := wan.only_expert(lora.targets(state))):
        on_event(Note(f"`{path.name}` is for the {expert} expert only: `cav mix` joins it with that of the other"))
    draft = _draft(name, model, max(len(A) for A, _ in lora.pairs_of(state).values()))
    with TemporaryDirectory() as folder:
        weights = Path(folder, WEIGHTS)
        save_weights(state, weights, draft)
        return workspace.registry.put(draft, {WEIGHTS: weights}, replace=replace)


def _file(names: Sequence[str], name: str, output: Path | None) -> Path:
    """The file for one of the names. Raises InvalidInput if several names would go into one file."""
    path = output_file(output, f"{name}{SUFFIX}", (SUFFIX,))
    if len(names) > 1 and path == output:
        raise InvalidInput("several motions or absorbers need several files", hint="give a folder with `-o`")
    return path


def _read(asset: Asset) -> tuple[Asset, lora.LoraState]:
    try:
        return asset, load(asset.read_weights())
    except SafetensorError as error:
        raise IntegrityFailure(f"cannot read the weights of `{asset.record.name}`: {error}") from error


def _explain(asset: Asset, state: Mapping[str, Tensor], layout: Layout, on_event: OnEvent) -> None:
    """Report what other tools do differently with the file."""
    record, layers = asset.record, lora.targets(state)
    for text in _differences(record, layers, layout, has_token=TOKEN in state):
        on_event(Note(text))


def _differences(record: Record, layers: Sequence[str], layout: Layout, *, has_token: bool) -> Iterator[str]:
    noise_from = float(record.recipe.get("noise_from", 0.0))
    is_wan = any(layer.startswith("transformer.") for layer in layers)
    if record.kind == "motion" and noise_from:
        part = f"the noisiest {1 - noise_from:.0%} of the timesteps"
        yield f"`cav` applies `{record.name}` at {part} only; other tools apply it at all of them"
    if layout is Layout.DIFFUSERS and any("temp_attentions" in layer for layer in layers):
        yield "diffusers cannot load LoRAs into a pipeline of this family: `peft` loads the file into its `unet`"
    if is_wan and any(layer.startswith("transformer_2.") for layer in layers):
        how = " (`load_lora_weights(…, load_into_transformer_2=True)`)" if layout is Layout.DIFFUSERS else ""
        yield f"`{record.name}` becomes two files: load the one for low noise into the second transformer{how}"
    if is_wan and has_token:
        yield f"the learned token of `{record.name}` is left out: no other tool reads one for Wan"


def _fitted(path: Path, model: Model) -> tuple[lora.LoraState, list[str]]:
    """The LoRA in a file by the layers of the model, and the entries that are not used.

    Raises what `import_lora` does.
    """
    if not path.exists():
        raise NotFound(f"no such file: `{path}`", hint="check the path")
    if not path.is_file():
        raise IntegrityFailure(f"`{path}` is not a regular file", hint="save the weights as a file first")
    if path.suffix.lower() not in WEIGHT_FILES:
        raise IntegrityFailure(f"`{path.name}` is not a file of weights ({', '.join(WEIGHT_FILES)})")
    loras, others = read_loras(path, *read_tensors(path))
    if not loras:
        hint = "supported: LoRAs in the layouts of diffusers, PEFT, kohya, musubi-tuner, ComfyUI and AnimateDiff"
        raise IntegrityFailure(f"`{path.name}` holds no LoRA in a known layout", hint=hint)
    shapes = {key: tuple(shape) for key, shape in denoiser_shapes(model.folder).items()}
    state, unfit = fit_loras(loras, shapes, 1.0, path.name, model.name)
    layers = lora.targets(state)
    if not layers:
        hint = "give the model it was made for with `--model`"
        raise Incompatible(f"`{path.name}` fits no layer of `{model.name}`: it is for {first_few(unfit)}", hint=hint)
    if model.family != "wan" and not any(word in layer for layer in layers for word in _ALONG_TIME):
        hint = f"it is a style: `cav generate PROMPT --style {path}`"
        raise Incompatible(f"`{path.name}` holds no motion: all its layers work within a frame", hint=hint)
    return state, [*unfit, *others]


def _draft(name: str, model: Model, rank: int) -> Record:
    return Record(
        name=name,
        kind="motion",
        origin="imported",
        base_model=model.name,
        fingerprint=model.fingerprint,
        revision=model.revision,
        commit=model.commit or None,
        prompt=name.replace("_", " ").replace("-", " "),
        appearance="",
        rank=rank,
        recipe={"noise_from": 0.0},
    )
