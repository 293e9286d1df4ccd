"""`learn` up to the training: the checks, the clip, and the inputs of the training."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cavtool import video
from cavtool.core.adapters.absorber import crop_bank
from cavtool.core.adapters.existing import combine
from cavtool.core.backbones.memory import check_options
from cavtool.core.colours import recoloured
from cavtool.core.devices import explain_oom
from cavtool.core.distributed import from_main, shares_of
from cavtool.errors import MediaError, RequirementError
from cavtool.events import Note, OnEvent, Warn
from cavtool.models import Model
from cavtool.recipes import AbsorbRecipe, LearnRecipe
from cavtool.registry.absorbers import find_absorber
from cavtool.registry.record import Clip
from cavtool.runs import INPUTS, Run
from cavtool.studio.appearance import load_absorbers
from cavtool.studio.session import Session, open_session, warn_if_too_long
from cavtool.studio.weights import save_tensors
from cavtool.system.files import make_folder
from cavtool.workspace import Workspace

NUM_CROPS = 64
ABSORBER = "absorber."  # the prefix of an existing absorber in the inputs, which a resumed run reads again
HEADS = "heads."  # the prefix of the masks of the heads that look across frames
_STILL = 0.25  # mean change between frames, of 255; compressed still videos have 0.0 to 0.1


def prepare_run(
    name: str, file: Path, recipe: LearnRecipe, workspace: Workspace, on_event: OnEvent, *, replace: bool
) -> tuple[Run, Session]:
    """Run `learn` up to the training, which `resume` can then do in another process. Raises what `learn` does."""
    model = workspace.models.find(recipe.model)
    check_options(recipe.memory)
    workspace.registry.check_leaves(recipe, name, replace=replace)
    workspace.registry.check_writable()
    make_folder(workspace.runs.root)
    video.check_ffmpeg()
    for absorber in recipe.absorbers:
        find_absorber(workspace.registry, absorber)
    clip, frames = _read_clip(file, recipe, model, on_event)
    _warn_about_captions(name, recipe, on_event)
    noise_from = model.native.noise_from if recipe.noise_from is None else recipe.noise_from
    with explain_oom():
        session = open_for_training(model, recipe)
        shares_of(recipe.batch_size)
        prompts = {"the prompt": recipe.prompt_for(name), "the description of the appearance": recipe.appearance}
        warn_if_too_long(session, prompts, on_event)
        _warn_about_experts(noise_from, session, on_event)
        given = load_absorbers(recipe.absorbers, session, workspace, on_event)
        latents = session.backbone.encode_clip(frames)
        inputs = _encode_inputs(session, frames, latents, recipe)
        session.backbone.release("vae")
        heads = temporal_heads(session, latents, recipe.prompt_for(name), on_event)
    inputs |= {f"{HEADS}{layer}": mask_H for layer, mask_H in heads.items()}
    inputs |= {f"{ABSORBER}{key}": value for key, value in combine([each.state for each in given]).items()}
    used = tuple(each.used for each in given)
    asked = dataclasses.replace(recipe, model=model.address, noise_from=noise_from, absorbers=used)

    def create() -> Run:
        run = workspace.runs.create(name, asked, clip=clip, revision=model.revision, replace=replace)
        try:
            run.write(INPUTS, lambda path: save_tensors(inputs, path))
        except RequirementError:  # a full disk: without its inputs, the run cannot continue
            run.remove()
            raise
        return run

    return from_main(create), session


def open_for_training(model: Model, recipe: LearnRecipe | AbsorbRecipe) -> Session:
    """Open the base model of a recipe. Raises what `open_session` does."""
    return open_session(
        model,
        device=recipe.device,
        dtype=recipe.dtype,
        training=True,
        memory=recipe.memory,
        batch_size=recipe.batch_size,
        rank=recipe.rank,
    )


def _warn_about_captions(name: str, recipe: LearnRecipe, on_event: OnEvent) -> None:
    if not recipe.prompt:
        on_event(Note(f"no `--prompt`: using `{recipe.prompt_for(name)}`; a description of the video works better"))
    if recipe.appearance and not recipe.trains_absorber:
        reason = "`--absorber`" if recipe.absorbers else "`--absorber-kind none`"
        on_event(Warn(f"`--appearance` does nothing with {reason}"))


def _warn_about_experts(noise_from: float, session: Session, on_event: OnEvent) -> None:
    """Warn if the motion is trained and applied at such high noise only that the low-noise expert never learns it."""
    boundary = session.backbone.expert_boundary
    if 0 < boundary <= noise_from:
        on_event(
            Warn(
                f"with `--noise-from {noise_from:g}`, only the high-noise expert of `{session.model.name}` learns and "
                f"applies the motion; below {boundary:.2f}, both do"
            )
        )


def _read_clip(file: Path, recipe: LearnRecipe, model: Model, on_event: OnEvent) -> tuple[Clip, video.Frames]:
    """Choose the part of the video and decode it at the model's rate and size."""
    native = model.clip
    start, duration = recipe.start, recipe.duration or native.seconds
    if start is None:
        window = video.busiest_window(file, duration, native.width / native.height, on_event)
        start, duration = window.start, window.duration
        on_event(Note(f"learning from {start:.2f} s to {start + duration:.2f} s, the busiest part"))
        if window.num_cuts:
            on_event(Warn(f"no part of {duration:g} s is free of cuts: this one holds {window.num_cuts}"))
    if abs(duration - native.seconds) > 0.5 / native.fps:
        on_event(
            Note(
                f"the clip is retimed from {duration:.2f} s to {native.seconds:g} s, the clip length of `{model.name}`"
            )
        )
    size = {"num_frames": native.num_frames, "width": native.width, "height": native.height}
    frames = video.decode(file, start=start, duration=duration, moving=True, on_event=on_event, **size)
    if video.shows_nothing(frames):
        part = f"from {start:.2f} s to {start + duration:.2f} s"
        hint = "choose another part with `--start`, or another video"
        raise MediaError(f"`{file}` shows only one colour {part}: there is nothing to learn", hint=hint)
    if np.abs(np.diff(frames.astype(np.int16), axis=0)).mean() < _STILL:
        on_event(Warn("hardly anything moves: there is little to learn"))
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return Clip(sha256=sha256, start=start, duration=duration, fps=native.fps, **size), frames


def temporal_heads(session: Session, latents: Tensor, prompt: str, on_event: OnEvent) -> dict[str, Tensor]:
    """The heads that look across frames, by attention layer, for models in which only some of a layer do."""
    heads = session.backbone.classify_heads(latents, prompt)
    if heads and not any(mask_H.any() for mask_H in heads.values()):
        on_event(Warn("no attention head looks across frames: the motion and the absorber both train all heads"))
        return {}
    return heads


def _encode_inputs(
    session: Session, frames: video.Frames, latents_1CFHW: Tensor, recipe: LearnRecipe
) -> dict[str, Tensor]:
    """The clip's frames, latents of it and its recoloured versions (N, C, F, H, W), and of crops (N, C, 1, H, W)."""
    backbone, inputs = session.backbone, {"frames": torch.from_numpy(frames)}
    versions = recoloured(frames, recipe.num_versions, recipe.seed)
    inputs["latents"] = torch.cat([latents_1CFHW, *map(backbone.encode_clip, versions)])
    if recipe.trains_absorber:
        every = [frame for clip in (*[frames] * max(len(versions), 1), *versions) for frame in clip]  # half its own
        inputs["crops"] = backbone.encode_stills(crop_bank(every, NUM_CROPS, recipe.seed))
    return {key: value.cpu().contiguous() for key, value in inputs.items()}
