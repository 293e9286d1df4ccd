"""The results of a training in the registry: the absorber, then the motion, each with weights, record and clips."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.lora import LoraState
from cavtool.errors import Conflict, IntegrityFailure, NotFound
from cavtool.models import Model
from cavtool.names import absorber_name
from cavtool.registry import Asset, Kind, Registry
from cavtool.registry.record import WEIGHTS, Record
from cavtool.runs import Run, RunRecord
from cavtool.schema import to_table
from cavtool.studio.learn.train import Training


def save_results(
    training: Training,
    asked: RunRecord,
    registry: Registry,
    absorber: LoraState,
    motion: LoraState,
    preview: video.Frames,
    loss: float,
) -> Asset:
    """Put weights, reference and preview into the registry: the absorber first, the motion last.

    Raises Conflict if a name has been taken since the run began.
    """
    run, model = training.run, training.session.model
    with TemporaryDirectory() as folder:
        clips = {"reference.mp4": Path(folder, "reference.mp4"), "preview.mp4": Path(folder, "preview.mp4")}
        for path, pixels in zip(clips.values(), (training.inputs["frames"].numpy(), preview), strict=True):
            video.encode(pixels, path, fps=model.clip.fps, scale=model.enlarge)
        save = partial(_put, registry, run, asked, Path(folder))
        if absorber:
            draft = _draft(asked, model, "absorber", absorber)
            save(draft, absorber, {"reference.mp4": clips["reference.mp4"]})
        return save(replace(_draft(asked, model, "motion", motion), metrics={"loss": loss}), motion, clips)


def check_still_free(registry: Registry, name: str, run: Run, *, replace: bool) -> None:
    """Raise Conflict if the name has been taken since the run began, unless the run may replace it."""
    try:
        registry.check_free(name, replace=replace)
    except Conflict as taken:
        hint = f"`cav rm {name}` makes room, then `cav runs resume {run.id}`"
        raise Conflict(taken.message, hint=hint) from taken


def _put(
    registry: Registry,
    run: Run,
    asked: RunRecord,
    folder: Path,
    draft: Record,
    state: LoraState,
    files: Mapping[str, Path],
) -> Asset:
    weights = folder / f"{draft.name}.safetensors"
    lora.save(state, weights, _file_metadata(draft, lora.targets(state)))
    is_ours = _has_weights(registry, draft.name, weights)  # put there by this run before it was interrupted
    if not is_ours:
        check_still_free(registry, draft.name, run, replace=asked.replace)
    return registry.put(draft, {WEIGHTS: weights, **files}, replace=is_ours or asked.replace)


def _has_weights(registry: Registry, name: str, weights: Path) -> bool:
    """Whether the asset of that name has exactly these weights."""
    with suppress(NotFound, IntegrityFailure):
        return registry.get(name).record.content_id == hashlib.sha256(weights.read_bytes()).hexdigest()
    return False


def _draft(asked: RunRecord, model: Model, kind: Kind, state: LoraState) -> Record:
    recipe = asked.recipe
    table = {key: value for key, value in to_table(recipe).items() if key not in {"prompt", "appearance", "model"}}
    return Record(
        name=asked.name if kind == "motion" else absorber_name(asked.name),
        kind=kind,
        origin="learned",
        base_model=model.name,
        fingerprint=model.fingerprint,
        revision=model.revision,
        commit=model.commit or None,
        prompt=recipe.prompt_for(asked.name),
        appearance=recipe.appearance,
        rank=recipe.rank if lora.targets(state) else 0,
        recipe=table,
        clip=asked.clip,
    )


def _file_metadata(draft: Record, targets: Sequence[str]) -> dict[str, str]:
    """The required keys of ModelSpec 1.0.1, and what diffusers reads of a LoRA: alpha equals rank."""
    metadata = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{draft.fingerprint}/{'lora' if draft.rank else 'textual-inversion'}",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "temporal LoRA" if draft.kind == "motion" else "appearance absorber",
    }
    if not draft.rank:
        return metadata
    spec: dict[str, Any] = {"r": draft.rank, "lora_alpha": draft.rank, "target_modules": list(targets)}
    return metadata | {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in spec.items()})}
