"""Store the results of a training in the registry: the absorber, then the motion, with weights, record and clips."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.lora import LoraState
from cavtool.errors import Conflict, IntegrityFailure, NotFound
from cavtool.models import Model
from cavtool.recipes import LearnRecipe, look_name
from cavtool.registry import Asset, Registry
from cavtool.registry.record import WEIGHTS, Clip, Record
from cavtool.runs import Run
from cavtool.studio.learn.train import Training


def save_results(
    training: Training,
    registry: Registry,
    absorber: LoraState,
    motion: LoraState,
    preview: video.Frames,
    loss: float,
) -> Asset:
    """Write weights, reference and preview into the registry; returns the motion.

    The motion is stored last, so that a stored motion is complete. Raises Conflict if a name has been taken since the
    run began.
    """
    run, session, recipe = training.run, training.session, training.recipe
    frames = training.inputs["frames"].numpy()
    draft = _draft(run, session.model, recipe, motion, loss)
    absorber_draft = _draft(run, session.model, recipe, absorber, loss, is_absorber=True)
    with TemporaryDirectory() as folder:
        clips = {"reference.mp4": Path(folder, "reference.mp4"), "preview.mp4": Path(folder, "preview.mp4")}
        for path, pixels in zip(clips.values(), (frames, preview), strict=True):
            video.encode(pixels, path, fps=session.model.clip.fps, scale=session.model.enlarge)
        if absorber:
            _put(registry, absorber_draft, absorber, {"reference.mp4": clips["reference.mp4"]}, run, Path(folder))
        return _put(registry, draft, motion, clips, run, Path(folder))


def check_still_free(run: Run, name: str, registry: Registry) -> None:
    """Raise Conflict if a name the run needs has been taken since it began, unless the run may replace assets."""
    try:
        registry.check_free(name, replace=run.settings["replace"])
    except Conflict as taken:
        hint = f"`cav rm {name}` frees the name, then `cav runs resume {run.id}`"
        raise Conflict(taken.message, hint=hint) from taken


def _put(
    registry: Registry, draft: Record, state: LoraState, files: Mapping[str, Path], run: Run, folder: Path
) -> Asset:
    weights = folder / f"{draft.name}.safetensors"
    lora.save(state, weights, _file_metadata(draft))
    return registry.put(draft, {WEIGHTS: weights, **files}, replace=_may_replace(registry, draft, weights, run))


def _may_replace(registry: Registry, draft: Record, weights: Path, run: Run) -> bool:
    """Whether the user allowed it, or the asset has these weights: this run stored them before it was stopped."""
    with suppress(NotFound, IntegrityFailure):
        stored = registry.get(draft.name).record.content_id
        if stored == hashlib.sha256(weights.read_bytes()).hexdigest():
            return True
    check_still_free(run, draft.name, registry)
    return bool(run.settings["replace"])


def _draft(
    run: Run, model: Model, recipe: LearnRecipe, state: LoraState, loss: float, *, is_absorber: bool = False
) -> Record:
    targets = lora.targets(state)
    kept = {key: value for key, value in recipe.to_dict().items() if key not in {"prompt", "appearance", "model"}}
    return Record(
        name=look_name(run.name) if is_absorber else run.name,
        kind="absorber" if is_absorber else "motion",
        origin="learned",
        base_model=model.name,
        fingerprint=model.fingerprint,
        revision=model.revision,
        prompt=recipe.prompt_for(run.name),
        appearance=recipe.appearance,
        rank=recipe.rank if targets else 0,
        target_modules=targets,
        recipe=kept,
        metrics={} if is_absorber else {"loss": loss},
        clip=Clip(**run.settings["clip"]),
    )


def _file_metadata(draft: Record) -> dict[str, str]:
    """The keys that ModelSpec 1.0.1 requires, and those from which diffusers reads rank and alpha, which are equal."""
    metadata = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{draft.fingerprint}/{'lora' if draft.rank else 'textual-inversion'}",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "temporal LoRA" if draft.kind == "motion" else "appearance absorber",
    }
    if not draft.rank:
        return metadata
    spec: dict[str, Any] = {"r": draft.rank, "lora_alpha": draft.rank, "target_modules": list(draft.target_modules)}
    return metadata | {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in spec.items()})}
