"""The first part of `learn`, before training: checks, the clip, and the encoded inputs of the training."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from cavtool import runs, video
from cavtool.core.adapters.absorber import crop_bank
from cavtool.core.devices import explain_oom
from cavtool.events import Note, OnEvent, Warn
from cavtool.models import Model, find_model
from cavtool.recipes import AbsorberKind, LearnRecipe
from cavtool.registry import Registry
from cavtool.registry.record import Clip
from cavtool.runs import Run
from cavtool.studio.session import Session, open_session
from cavtool.system import paths

NUM_CROPS = 64
_STILL = 0.25  # mean change between frames, of 255; compression noise of a still video is 0.0 to 0.1


def prepare_run(
    name: str, file: Path, recipe: LearnRecipe, registry: Registry, on_event: OnEvent, *, replace: bool
) -> tuple[Run, Session]:
    """Create the run and write its inputs; `resume` can then train in another process. Raises as `learn` does."""
    model = find_model(recipe.model, cache=paths.cache_dir())
    for each in recipe.leaves(name):
        registry.check_free(each, replace=replace)
    clip, frames = _read_clip(file, recipe, model, on_event)
    _warn_of_unused(name, recipe, on_event)
    with explain_oom():
        session = open_session(recipe.model, device=recipe.device, dtype=recipe.dtype, training=True)
        _warn_of_truncated(name, recipe, session, on_event)
        inputs = _encode_inputs(session, frames, recipe.seed)
    request = {"recipe": recipe.to_dict() | {"model": model.address}, "revision": model.revision}
    run = runs.create(name, {"replace": replace, "clip": asdict(clip)} | request)
    run.write(runs.INPUTS, lambda path: save_file(inputs, path))
    return run, session


def _warn_of_unused(name: str, recipe: LearnRecipe, on_event: OnEvent) -> None:
    if not recipe.prompt:
        on_event(
            Note(f"no `--prompt`: using `{recipe.prompt_for(name)}`; a description of the video gives better results")
        )
    if recipe.absorber_kind is AbsorberKind.NONE and recipe.appearance:
        on_event(Warn("`--appearance` does nothing with `--absorber-kind none`"))


def _warn_of_truncated(name: str, recipe: LearnRecipe, session: Session, on_event: OnEvent) -> None:
    for text in (recipe.prompt_for(name), recipe.appearance):
        if rest := session.backbone.truncated(text):
            on_event(Warn(f"the prompt is too long for `{session.model.name}`, which ignores `{rest}`"))


def _read_clip(file: Path, recipe: LearnRecipe, model: Model, on_event: OnEvent) -> tuple[Clip, video.Frames]:
    """Choose the part of the video and decode it at the model's rate and size."""
    native = model.clip
    start, duration = recipe.start, recipe.duration or native.seconds
    if start is None:
        window = video.busiest_window(file, duration, native.width / native.height)
        start, duration = window.start, window.duration
        on_event(Note(f"learning from {start:.2f} s to {start + duration:.2f} s, the busiest part"))
    if abs(duration - native.seconds) > 0.5 / native.fps:
        on_event(Note(f"{duration:.2f} s are learned as {native.seconds:g} s, the length of `{model.name}`'s clips"))
    size = {"num_frames": native.num_frames, "width": native.width, "height": native.height}
    frames = video.decode(file, start=start, duration=duration, **size)
    if np.abs(np.diff(frames.astype(np.int16), axis=0)).mean() < _STILL:
        on_event(Warn("hardly anything moves in this clip, so there is little to learn"))
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return Clip(sha256=sha256, start=start, duration=duration, fps=native.fps, **size), frames


def _encode_inputs(session: Session, frames: video.Frames, seed: int) -> dict[str, Tensor]:
    """The inputs of the training: the clip's frames and latents, the latents of its crop bank (N, C, 1, H, W)."""
    backbone = session.backbone
    crops = crop_bank(frames, NUM_CROPS, seed)
    latents = {"latents": backbone.encode_clip(frames), "crops": backbone.encode_stills(crops)}
    inputs = {"frames": torch.from_numpy(frames)} | latents
    return {key: value.cpu().contiguous() for key, value in inputs.items()}
