"""The results of a training in the registry: the absorber, then the motion, each with weights, record and clips."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.lora import LoraState
from cavtool.errors import Conflict, IntegrityFailure, NotFound
from cavtool.models import Model
from cavtool.names import absorber_name
from cavtool.registry import Asset, Kind, Registry
from cavtool.registry.record import WEIGHTS, Record, UsedAbsorber
from cavtool.runs import Run, RunRecord
from cavtool.schema import to_table
from cavtool.studio.learn.train import Training
from cavtool.studio.weights import heads_metadata, save_weights

_SEPARATE = {"prompt", "appearance", "model", "absorbers"}  # in fields of their own, not in the table of the recipe
_OF_MACHINE = {"memory"}
_WITHOUT_EFFECT = {"absorber_kind", "absorber_steps", "absorber_lr", "recolour"}  # if existing absorbers are used


def save_results(
    training: Training,
    asked: RunRecord,
    registry: Registry,
    absorber: LoraState,
    motion: LoraState,
    preview: video.Frames,
    metrics: Mapping[str, float],
) -> Asset:
    """Put weights, reference and preview into the registry: the absorber first, the motion last.

    Raises Conflict if a name has been taken since the run began.
    """
    run, model = training.run, training.session.model
    with TemporaryDirectory() as folder:
        clips = {"reference.mp4": Path(folder, "reference.mp4"), "preview.mp4": Path(folder, "preview.mp4")}
        for path, pixels in zip(clips.values(), (training.inputs["frames"].numpy(), preview), strict=True):
            video.encode(pixels, path, fps=model.clip.fps, scale=model.enlarge)
        save = partial(_put, registry, run, asked, Path(folder), heads_metadata(training.temporal_heads))
        if absorber:
            draft = _draft(asked, model, "absorber", absorber)
            save(draft, absorber, {"reference.mp4": clips["reference.mp4"]})
        return save(replace(_draft(asked, model, "motion", motion), metrics=metrics), motion, clips)


def check_still_free(registry: Registry, name: str, kind: Kind, run: Run, *, replace: bool) -> None:
    """Raise Conflict if the name has been taken since the run began, unless the run may replace it."""
    try:
        registry.check_free(name, kind, replace=replace)
    except Conflict as taken:
        motion = run.record.name
        moved = (
            f"{motion} NEW --with-absorber" if {motion, absorber_name(motion)} <= {*registry.names()} else f"{name} NEW"
        )
        hint = f"rename it with `cav mv {moved}`, then `cav runs resume {run.id}`"
        raise Conflict(taken.message, hint=hint) from taken


def _put(
    registry: Registry,
    run: Run,
    asked: RunRecord,
    folder: Path,
    metadata: Mapping[str, str],
    draft: Record,
    state: LoraState,
    files: Mapping[str, Path],
) -> Asset:
    weights = folder / f"{draft.name}.safetensors"
    save_weights(state, weights, draft, metadata)
    is_ours = _has_weights(registry, draft.name, weights)  # put there by this run before it was interrupted
    if not is_ours:
        check_still_free(registry, draft.name, draft.kind, run, replace=asked.replace)
    return registry.put(draft, {WEIGHTS: weights, **files}, replace=is_ours or asked.replace)


def _has_weights(registry: Registry, name: str, weights: Path) -> bool:
    """Whether the asset of that name has exactly these weights."""
    with suppress(NotFound, IntegrityFailure):
        return registry.get(name).record.content_id == hashlib.sha256(weights.read_bytes()).hexdigest()
    return False


def _draft(asked: RunRecord, model: Model, kind: Kind, state: LoraState) -> Record:
    recipe = asked.recipe
    left_out = _SEPARATE | _OF_MACHINE | (_WITHOUT_EFFECT if recipe.absorbers else set())
    table = {key: value for key, value in to_table(recipe).items() if key not in left_out}
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
        absorbers=tuple(
            UsedAbsorber(name=each.name, kind=each.kind, content_id=each.content_id, weight=each.weight)
            for each in recipe.absorbers
        ),
    )
