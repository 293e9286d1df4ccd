"""Learn a motion from one video: the paper's two stages, as a run on disk that can be cut anywhere and resumed."""

import hashlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from cavtool import runs, video
from cavtool.core.absorbers import crop_bank
from cavtool.core.devices import memory_told
from cavtool.errors import CavError, Incompatible, NotFound, TrainingError
from cavtool.events import Interrupted, Note, OnEvent, Warn
from cavtool.models import Model, find_model
from cavtool.recipes import AbsorberKind, LearnRecipe
from cavtool.registry import Asset, Registry
from cavtool.registry.records import Clip
from cavtool.runs import Run
from cavtool.studio.keeping import check_still_free, keep
from cavtool.studio.session import Session, open_session
from cavtool.studio.training import BEGIN_AGAIN, Training, read_latest, read_state

NUM_CROPS = 64
_STILL = 0.25  # mean change from frame to frame, of 255; of a still film, compressed, 0.0 to 0.1


def learn(
    name: str,
    file: Path,
    recipe: LearnRecipe,
    *,
    replace: bool = False,
    registry: Registry | None = None,
    on_event: OnEvent = lambda _: None,
) -> Asset:
    """Learn the motion of a video and keep it as `name`, its absorber as `name-look`.

    Raises Conflict for a taken name and MediaError for a bad video, both before any work; TrainingError when the loss
    is not finite, the registry untouched; Interrupted at the first Ctrl-C, after a checkpoint.
    """
    registry = registry or _usual_registry(on_event)
    run, session = prepare(name, file, recipe, registry, on_event, replace=replace)
    return _drive(run, session, registry, on_event)


def prepare(
    name: str, file: Path, recipe: LearnRecipe, registry: Registry, on_event: OnEvent, *, replace: bool
) -> tuple[Run, Session]:
    """All of `learn` before the training, which `resume` can do then in another process. Raises what `learn` does."""
    model = find_model(recipe.model)
    for wanted in recipe.leaves(name):
        registry.check_free(wanted, replace=replace)
    clip, frames = _read_clip(file, recipe, model, on_event)
    _say_what_is_amiss(name, recipe, on_event)
    with memory_told():
        session = open_session(recipe.model, device=recipe.device, dtype=recipe.dtype, training=True)
        _say_what_is_unread(name, recipe, session, on_event)
        inputs = _encode_inputs(session, frames, recipe.seed)
    asked = {"recipe": recipe.to_dict() | {"model": model.address}, "revision": model.revision}
    run = runs.create(name, {"replace": replace, "clip": asdict(clip)} | asked)
    run.write(runs.INPUTS, lambda path: save_file(inputs, path))
    return run, session


def resume(run_id: str, *, registry: Registry | None = None, on_event: OnEvent = lambda _: None) -> Asset:
    """Go on with a run from its last checkpoint; on the CPU it ends in the weights it would have had uncut.

    Raises NotFound, Conflict while another process drives it or where its name is taken by now, TrainingError where
    what it left is damaged, Incompatible where the base model has been replaced since.
    """
    run = runs.open_run(run_id)
    registry = registry or _usual_registry(on_event)
    if run.status == "done":
        asset = registry.get(run.name, "motion")
        if asset.record.content_id != run.result:
            raise NotFound(f"run `{run_id}` is done, and `{run.name}` is another motion by now")
        on_event(Note(f"run `{run_id}` is done already"))
        return asset
    if not run.inputs.exists():
        raise TrainingError(f"run `{run_id}` was stopped before it began", hint=BEGIN_AGAIN)
    recipe = LearnRecipe.from_dict(run.settings["recipe"])
    model = find_model(recipe.model)
    if model.revision != run.settings["revision"]:
        raise Incompatible(f"run `{run_id}` was begun on other weights of `{model.name}`", hint=BEGIN_AGAIN)
    if run.step < recipe.total_steps:  # else what it leaves may be there already
        for wanted in recipe.leaves(run.name):
            check_still_free(run, wanted, registry)
    with memory_told():
        session = open_session(recipe.model, device=recipe.device, dtype=recipe.dtype, training=True)
    return _drive(run, session, registry, on_event)


# Before training


def _usual_registry(on_event: OnEvent) -> Registry:
    return Registry(on_wait=lambda text: on_event(Note(text)))


def _say_what_is_amiss(name: str, recipe: LearnRecipe, on_event: OnEvent) -> None:
    if not recipe.prompt:
        on_event(Note(f"no `--prompt`: using `{recipe.prompt_for(name)}`; saying what the video shows helps"))
    if recipe.absorber_kind is AbsorberKind.NONE and recipe.appearance:
        on_event(Warn("`--appearance` does nothing with `--absorber-kind none`"))


def _say_what_is_unread(name: str, recipe: LearnRecipe, session: Session, on_event: OnEvent) -> None:
    for text in (recipe.prompt_for(name), recipe.appearance):
        if unread := session.backbone.unread(text):
            on_event(Warn(f"`{session.model.name}` cannot read so long a prompt to its end: `{unread}`"))


def _read_clip(file: Path, recipe: LearnRecipe, model: Model, on_event: OnEvent) -> tuple[Clip, video.Frames]:
    """Choose the part of the video and decode it at the model's rate and size."""
    start, duration = recipe.start, recipe.duration or model.seconds
    if start is None:
        window = video.busiest_window(file, duration, model.width / model.height)
        start, duration = window.start, window.duration
        on_event(Note(f"learning from {start:.2f} s to {start + duration:.2f} s, where most moves"))
    if abs(duration - model.seconds) > 0.5 / model.fps:
        on_event(Note(f"its {duration:.2f} s are learned as {model.seconds:g} s, the length of `{model.name}`'s clips"))
    size = {"num_frames": model.num_frames, "width": model.width, "height": model.height}
    frames = video.decode(file, start=start, duration=duration, **size)
    if np.abs(np.diff(frames.astype(np.int16), axis=0)).mean() < _STILL:
        on_event(Warn("hardly anything moves there: there is little to learn"))
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return Clip(sha256=sha256, start=start, duration=duration, fps=model.fps, **size), frames


def _encode_inputs(session: Session, frames: video.Frames, seed: int) -> dict[str, Tensor]:
    """All a training reads: the clip's frames and latents, and the latents of its crop bank (N, C, 1, H, W)."""
    backbone = session.backbone
    crops = crop_bank(frames, NUM_CROPS, seed)
    banks = [backbone.encode(crops[i : i + 16]).transpose(0, 2) for i in range(0, NUM_CROPS, 16)]
    inputs = {"frames": torch.from_numpy(frames), "latents": backbone.encode(frames), "crops": torch.cat(banks)}
    return {key: value.cpu().contiguous() for key, value in inputs.items()}


# The run


@contextmanager
def _first_interrupt(run_id: str) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed once; pressed twice it stops at once, without a checkpoint of now."""
    asked = threading.Event()

    def on_signal(*_: object) -> None:
        if asked.is_set():
            raise Interrupted(run_id)
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, previous)


def _drive(run: Run, session: Session, registry: Registry, on_event: OnEvent) -> Asset:
    """Train what is left of a run and put the results into the registry."""
    recipe = LearnRecipe.from_dict(run.settings["recipe"])
    prompt = recipe.prompt_for(run.name)
    with run.lock(), _first_interrupt(run.id) as interrupted:

        def asked_to_stop() -> bool:
            return interrupted() or run.is_asked_to_stop

        try:
            inputs, saved = read_state(run.inputs), read_latest(run, on_event)
            training = Training(run, session, recipe, inputs, saved, on_event, asked_to_stop)
            with memory_told():
                absorber = training.absorb(recipe.appearance)
                motion, loss = training.move(prompt, absorber)
                preview = training.preview(prompt, motion)
            asset = keep(training, registry, absorber, motion, preview, loss)
        except CavError as error:
            run.fail(error.message)
            raise
        run.finish(asset.record.content_id)
    return asset
