"""Generate videos of a prompt with the motions of the registry."""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cavtool import video
from cavtool._version import __version__
from cavtool.core.devices import explain_oom
from cavtool.errors import Conflict, Incompatible, InvalidInput, RequirementError
from cavtool.events import Note, OnEvent, Stage, Step, Warn
from cavtool.models import CATALOGUE, Model
from cavtool.recipes import Blend, SampleRecipe
from cavtool.registry import Asset, Registry
from cavtool.registry.record import Record
from cavtool.schema import to_table
from cavtool.studio.session import Motion, Session, motion_of, open_session
from cavtool.workspace import Workspace


def generate(
    recipe: SampleRecipe,
    *,
    output: Path | None = None,
    scale: int | None = None,
    metadata: bool = True,
    overwrite: bool = False,
    workspace: Workspace | None = None,
    session: Session | None = None,
    on_event: OnEvent = lambda _: None,
) -> list[Path]:
    """Make the recipe's videos and write them; returns one file for each seed.

    `output` is a file, whose suffix decides the format, or a folder. `scale` enlarges the videos (default: as the model
    says). Motions, names and files are checked first: raises NotFound, Incompatible, Conflict, InvalidInput.
    """
    recipe = recipe if recipe.seed is not None else replace(recipe, seed=secrets.randbelow(2**31))
    workspace = workspace or Workspace()
    model = workspace.models.find(recipe.model)
    recipe = _resolved(recipe, model)
    motions = [_motion(workspace.registry, blend, model, on_event) for blend in recipe.motions]
    files = [_file_for(recipe, seed, output) for seed in recipe.seeds]
    _check_files(files, overwrite=overwrite)
    with explain_oom():
        session = session or open_session(model, device=recipe.device, dtype=recipe.dtype)
    _warn(recipe, session, on_event)
    enlarge = scale or model.enlarge
    if enlarge > 1:
        size = f"{model.clip.width}x{model.clip.height}"
        on_event(Note(f"`{model.name}` makes {size}; written {enlarge} times as large"))
    for index, (seed, file) in enumerate(zip(recipe.seeds, files, strict=True), 1):
        on_event(Stage("sampling", index, len(files)))
        with explain_oom():
            frames = _sample(session, recipe, seed, [motion for _, motion in motions], on_event)
        made = _metadata(replace(recipe, seed=seed, num_videos=1), model, [record for record, _ in motions])
        video.encode(frames, file, fps=model.clip.fps, scale=enlarge, recipe=made if metadata else None)
    try:
        workspace.history.add(_reproducible(recipe, model, [record for record, _ in motions]), files)
    except RequirementError as refused:
        on_event(Warn(f"cannot add to the history: {refused.message}"))
    return files


def _resolved(recipe: SampleRecipe, model: Model) -> SampleRecipe:
    """The recipe with the model's own values in place of None."""
    guidance = model.native.guidance if recipe.guidance is None else recipe.guidance
    return replace(recipe, steps=recipe.steps or model.native.steps, guidance=guidance)


def _reproducible(recipe: SampleRecipe, model: Model, records: Sequence[Record]) -> SampleRecipe:
    """The recipe with the ids of the exact motions and model weights that were used."""
    blends = [replace(blend, content_id=each.content_id) for blend, each in zip(recipe.motions, records, strict=True)]
    return replace(recipe, motions=tuple(blends), model=model.address, revision=model.revision)


def _sample(
    session: Session, recipe: SampleRecipe, seed: int, motions: Sequence[Motion], on_event: OnEvent
) -> video.Frames:
    began, num_steps = time.monotonic(), recipe.steps or session.model.native.steps

    def on_step(step: int) -> None:
        on_event(Step("sampling", step, num_steps, None, time.monotonic() - began))

    return session.generate(
        recipe.prompt,
        seed,
        motions,
        negative=recipe.negative,
        steps=recipe.steps,
        guidance=recipe.guidance,
        on_step=on_step,
    )


def _motion(registry: Registry, blend: Blend, model: Model, on_event: OnEvent) -> tuple[Record, Motion]:
    """The motion's record and weights. Raises NotFound, IntegrityFailure, Incompatible if it does not fit the model."""

    def use(asset: Asset) -> tuple[Record, Motion]:
        return asset.record, motion_of(asset, blend.weight)

    record, motion = registry.read(blend.name, use, "motion")
    if blend.content_id not in {"", record.content_id}:
        on_event(Warn(f"`{blend.name}` has been replaced since that video was made: this one will differ"))
    if record.fingerprint != model.fingerprint:
        raise Incompatible(
            f"`{blend.name}` was learned on `{record.base_model}` and does not fit `{model.name}`",
            hint=f"generate with `--model {_as_option(record.base_model)}`, or learn it again on `{model.name}`",
        )
    if record.revision != model.revision:
        on_event(
            Warn(f"`{blend.name}` was learned on different weights of `{model.name}`; learn it again if it looks wrong")
        )
    return record, motion


def _as_option(name: str) -> str:
    return name if name in CATALOGUE or "/" in name else f"FOLDER_OF_{name}"


def _file_for(recipe: SampleRecipe, seed: int, output: Path | None) -> Path:
    """The path of a seed's video."""
    motions = "-".join(blend.name for blend in recipe.motions)
    default = "-".join(part for part in (_slug(recipe.prompt), motions, str(seed)) if part) + ".mp4"
    if output is None or output.is_dir() or not output.suffix:
        return (output or Path()) / default
    return output if recipe.num_videos == 1 else output.with_stem(f"{output.stem}-{seed}")


def _slug(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text.lower()).strip("-")[:60].rstrip("-") or "video"


def _check_files(files: Sequence[Path], *, overwrite: bool) -> None:
    for file in files:
        if file.suffix.lower() not in video.SUFFIXES:
            raise InvalidInput(f"cannot write `{file.name}`", hint=f"use one of {', '.join(video.SUFFIXES)}")
        if file.exists() and not overwrite:
            raise Conflict(f"`{file}` exists", hint="pass `--overwrite`, or name another file with `-o`")
        file.parent.mkdir(parents=True, exist_ok=True)


def _warn(recipe: SampleRecipe, session: Session, on_event: OnEvent) -> None:
    """Warn of everything in the recipe that will not have the expected effect."""
    model = session.model
    if words := model.unknown_words(f"{recipe.prompt} {recipe.negative}"):
        listed = ", ".join(f"`{word}`" for word in words)
        on_event(
            Warn(f"`{model.name}` was not trained on {listed}; a larger model (`--model FOLDER`) knows more words")
        )
    if rest := session.backbone.truncated(recipe.prompt):
        on_event(Warn(f"the prompt is too long for `{model.name}`, which ignores `{rest}`"))
    if recipe.negative and recipe.guidance == 1:
        on_event(Warn("`--negative` does nothing at `--guidance 1`"))
    if recipe.revision not in {"", model.revision}:
        on_event(Warn(f"that video was made with different weights of `{model.name}`: this one will differ"))


def _metadata(recipe: SampleRecipe, model: Model, records: Sequence[Record]) -> dict[str, Any]:
    """Everything needed to make the video again, without paths."""
    motions = [
        {"name": blend.name, "weight": blend.weight, "content_id": record.content_id}
        for blend, record in zip(recipe.motions, records, strict=True)
    ]
    kept = {key: value for key, value in to_table(recipe).items() if key not in {"device", "dtype", "num_videos"}}
    made = {"model": model.name, "fingerprint": model.fingerprint, "revision": model.revision, "cav": __version__}
    made |= {"commit": model.commit} if model.commit else {}
    return kept | {"motions": motions} | made
