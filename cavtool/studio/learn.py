"""Learn a motion from one video: the paper's two stages, as a run on disk that can be cut anywhere and resumed.

A checkpoint holds `stage` (1 absorber, 2 motion), the trainer's state under `trainer.`, and in stage 2 the finished
absorber under `absorber.`.
"""

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cavtool import runs, video
from cavtool.core import lora
from cavtool.core.absorbers import absorber_loss, crop_bank, load_absorber, new_absorber
from cavtool.core.devices import memory_told
from cavtool.core.diffusion import denoising_loss, step_generator
from cavtool.core.lora import LoraState
from cavtool.core.training import Trainer
from cavtool.errors import CavError, Conflict, Incompatible, IntegrityFailure, NotFound, TrainingError
from cavtool.events import Interrupted, Note, OnEvent, Stage, Step, Warn, to_json
from cavtool.models import Model, find_model
from cavtool.recipes import AbsorberKind, LearnRecipe, SampleRecipe, look_name
from cavtool.registry.records import WEIGHTS, Clip, Record
from cavtool.registry.store import Asset, Registry
from cavtool.runs import Run
from cavtool.studio.session import Motion, Session, open_session

MOTION_ADAPTER = "cav_motion"
NUM_CROPS = 64
CHECKPOINT_EVERY = 50  # steps
_STILL = 0.25  # mean change from frame to frame, of 255; of a still film, compressed, 0.0 to 0.1
_STAGES = ("absorber", "motion", "preview")
_BEGIN_AGAIN = "start it again with `cav learn`"


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
    return _drive(run, session, registry, on_event)


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
        raise TrainingError(f"run `{run_id}` was stopped before it began", hint=_BEGIN_AGAIN)
    recipe = LearnRecipe.from_dict(run.settings["recipe"])
    model = find_model(recipe.model)
    if model.revision != run.settings["revision"]:
        raise Incompatible(f"run `{run_id}` was begun on other weights of `{model.name}`", hint=_BEGIN_AGAIN)
    if run.step < recipe.total_steps:  # else what it leaves may be there already
        for wanted in recipe.leaves(run.name):
            _check_still_free(run, wanted, registry)
    with memory_told():
        session = open_session(recipe.model, device=recipe.device, dtype=recipe.dtype, training=True)
    return _drive(run, session, registry, on_event)


# Before training


def _usual_registry(on_event: OnEvent) -> Registry:
    return Registry(on_wait=lambda text: on_event(Note(text)))


def _check_still_free(run: Run, name: str, registry: Registry) -> None:
    try:
        registry.check_free(name, replace=run.settings["replace"])
    except Conflict as taken:
        hint = f"`cav rm {name}` makes room, then `cav runs resume {run.id}`"
        raise Conflict(taken.message, hint=hint) from taken


def _say_what_is_amiss(name: str, recipe: LearnRecipe, on_event: OnEvent) -> None:
    if not recipe.prompt:
        on_event(Note(f"no `--prompt`: using `{_prompt(name, recipe)}`; saying what the video shows helps"))
    if recipe.absorber_kind is AbsorberKind.NONE and recipe.appearance:
        on_event(Warn("`--appearance` does nothing with `--absorber-kind none`"))


def _say_what_is_unread(name: str, recipe: LearnRecipe, session: Session, on_event: OnEvent) -> None:
    for text in (_prompt(name, recipe), recipe.appearance):
        if unread := session.backbone.unread(text):
            on_event(Warn(f"`{session.model.name}` cannot read so long a prompt to its end: `{unread}`"))


def _prompt(name: str, recipe: LearnRecipe) -> str:
    return recipe.prompt or name.replace("_", " ").replace("-", " ")


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


# Training


@dataclass
class _Training:
    """One run in training: what both stages share."""

    run: Run
    session: Session
    recipe: LearnRecipe
    inputs: Mapping[str, Tensor]
    saved: LoraState  # the checkpoint it goes on from, {} for none
    on_event: OnEvent
    asked_to_stop: Callable[[], bool]

    @property
    def saved_stage(self) -> int:
        return int(self.saved.get("stage", torch.tensor(0)))

    def begin(self, stage: str) -> None:
        """Report that a stage begins."""
        stages = ["motion", "preview"] if self.recipe.absorber_kind is AbsorberKind.NONE else [*_STAGES]
        self.on_event(Stage(stage, stages.index(stage) + 1, len(stages)))

    def absorb(self, appearance: str) -> LoraState:
        """Stage 1: train the absorber, or take the finished one out of the checkpoint; {} for none."""
        kind = self.recipe.absorber_kind
        if kind is AbsorberKind.NONE:
            return {}
        if self.saved_stage == 2:
            return _under("absorber.", self.saved)
        backbone, recipe = self.session.backbone, self.recipe
        params = new_absorber(
            backbone,
            appearance,
            with_lora=kind is not AbsorberKind.TEXTINV,
            with_token=kind is not AbsorberKind.S_LORA,
            rank=recipe.rank,
            seed=recipe.seed,
        )
        batch = 8 * recipe.batch_size  # single frames: cheap
        loss_at = absorber_loss(backbone, params, self.inputs["crops"], appearance, batch_size=batch, seed=recipe.seed)
        trainer = Trainer(params, loss_at, recipe.absorber_steps, recipe.absorber_lr)
        self._train(trainer, "absorber", {})
        state = lora.extract(params)
        lora.remove_all(backbone.denoiser)
        return state

    def move(self, prompt: str, absorber: LoraState) -> tuple[LoraState, float]:
        """Stage 2: train the T-LoRA with the absorber loaded and frozen; returns it and its last smoothed loss."""
        backbone, recipe = self.session.backbone, self.recipe
        token = load_absorber(backbone, absorber)
        conditioning = backbone.encode_text([prompt], token).detach()
        targets = backbone.temporal_targets()
        params = lora.inject(backbone.denoiser, MOTION_ADAPTER, targets, recipe.rank, seed=recipe.seed)
        latents = self.inputs["latents"].to(backbone.device).repeat(recipe.batch_size, 1, 1, 1, 1)
        first = recipe.total_steps - recipe.steps

        def loss_at(step: int) -> Tensor:  # equation (5)
            generator = step_generator(recipe.seed, first + step)
            return denoising_loss(backbone, latents, conditioning, generator, noise_from=recipe.noise_from)

        trainer = Trainer(params, loss_at, recipe.steps, recipe.lr)
        kept = {f"absorber.{key}": value for key, value in absorber.items()}
        loss = self._train(trainer, "motion", kept)
        state = lora.extract(params)
        lora.remove_all(backbone.denoiser)
        return state, loss

    def preview(self, prompt: str, motion: LoraState) -> video.Frames:
        """A first result: the reference's own prompt with the motion and a new layout."""
        self.begin("preview")
        usual, began = SampleRecipe(prompt), time.monotonic()

        def on_step(step: int) -> None:
            self.on_event(Step("preview", step, usual.steps, None, round(time.monotonic() - began, 3)))
            if self.asked_to_stop():
                raise Interrupted(self.run.id)

        motions = [Motion(motion, noise_from=self.recipe.noise_from)]
        return self.session.generate(
            prompt, self.recipe.seed, motions, steps=usual.steps, guidance=usual.guidance, on_step=on_step
        )

    def _train(self, trainer: Trainer, name: str, kept: Mapping[str, Tensor]) -> float:
        """Run a stage, checkpointing; returns its last smoothed loss. Raises Interrupted when asked to stop."""
        began, smoothed, stage = time.monotonic(), 0.0, 1 + _STAGES.index(name)
        if self.saved_stage == stage:
            trainer.load(_under("trainer.", self.saved))
            smoothed = self.saved["smoothed"].item()
        self.begin(name)
        offset = self.recipe.total_steps - self.recipe.steps if name == "motion" else 0
        for loss in trainer.run():
            smoothed = loss if not smoothed else 0.95 * smoothed + 0.05 * loss
            event = Step(name, trainer.step, trainer.num_steps, loss, round(time.monotonic() - began, 3))
            self.on_event(event)
            self.run.log(to_json(event))
            stopping = self.asked_to_stop()
            if stopping or trainer.step % CHECKPOINT_EVERY == 0 or trainer.step == trainer.num_steps:
                state = {f"trainer.{key}": value.cpu() for key, value in trainer.state().items()}
                state |= {**kept, "stage": torch.tensor(stage), "smoothed": torch.tensor(smoothed, dtype=torch.float64)}
                self.run.checkpoint(offset + trainer.step, lambda path, state=state: save_file(state, path))  # type: ignore[misc]
            if stopping:
                raise Interrupted(self.run.id)
        return smoothed


def _read_latest(run: Run, on_event: OnEvent) -> LoraState:
    """The latest checkpoint that is whole, {} where there is none yet. Raises TrainingError if all are damaged."""
    damaged: list[TrainingError] = []
    for _, path in reversed(run.checkpoints()):
        try:
            state = _read_state(path)
        except TrainingError as error:
            damaged.append(error)
            continue
        for failure in damaged:
            on_event(Warn(f"{failure.message}: going on from the one before"))
        return state
    if damaged:
        raise damaged[0]
    return {}


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"`{path.name}` of run `{path.parent.name}` is damaged", hint=_BEGIN_AGAIN) from error


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


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
    prompt = _prompt(run.name, recipe)
    with run.lock(), _first_interrupt(run.id) as asked_to_stop:
        try:
            inputs, saved = _read_state(run.inputs), _read_latest(run, on_event)
            training = _Training(run, session, recipe, inputs, saved, on_event, asked_to_stop)
            with memory_told():
                absorber = training.absorb(recipe.appearance)
                motion, loss = training.move(prompt, absorber)
                preview = training.preview(prompt, motion)
            asset = _keep(training, registry, absorber, motion, preview, loss)
        except CavError as error:
            run.fail(error.message)
            raise
        run.finish(asset.record.content_id)
    return asset


# After training


def _keep(
    training: _Training,
    registry: Registry,
    absorber: LoraState,
    motion: LoraState,
    preview: video.Frames,
    loss: float,
) -> Asset:
    """Write weights, reference and preview into the registry: the absorber first, the motion as the last act."""
    run, session, recipe = training.run, training.session, training.recipe
    frames = training.inputs["frames"].numpy()
    draft = _draft(run, session.model, recipe, motion, loss)
    look = _draft(run, session.model, recipe, absorber, loss, look=True)
    with TemporaryDirectory() as folder:
        clips = {"reference.mp4": Path(folder, "reference.mp4"), "preview.mp4": Path(folder, "preview.mp4")}
        for path, pixels in zip(clips.values(), (frames, preview), strict=True):
            video.encode(pixels, path, fps=session.model.fps, scale=session.model.enlarge)
        if absorber:
            _put(registry, look, absorber, {"reference.mp4": clips["reference.mp4"]}, run, Path(folder))
        return _put(registry, draft, motion, clips, run, Path(folder))


def _put(
    registry: Registry, draft: Record, state: LoraState, files: Mapping[str, Path], run: Run, folder: Path
) -> Asset:
    weights = folder / f"{draft.name}.safetensors"
    lora.save(state, weights, _file_metadata(draft))
    return registry.put(draft, {WEIGHTS: weights, **files}, replace=_may_replace(registry, draft, weights, run))


def _may_replace(registry: Registry, draft: Record, weights: Path, run: Run) -> bool:
    """Asked for; or what is there are these very weights, put there by this run before it was cut."""
    with suppress(NotFound, IntegrityFailure):
        there = registry.get(draft.name).record.content_id
        if there == hashlib.sha256(weights.read_bytes()).hexdigest():
            return True
    _check_still_free(run, draft.name, registry)
    return bool(run.settings["replace"])


def _draft(run: Run, model: Model, recipe: LearnRecipe, state: LoraState, loss: float, *, look: bool = False) -> Record:
    targets = lora.targets(state)
    told = {key: value for key, value in recipe.to_dict().items() if key not in {"prompt", "appearance", "model"}}
    return Record(
        name=look_name(run.name) if look else run.name,
        kind="absorber" if look else "motion",
        origin="learned",
        base_model=model.name,
        fingerprint=model.fingerprint,
        revision=model.revision,
        prompt=_prompt(run.name, recipe),
        appearance=recipe.appearance,
        rank=recipe.rank if targets else 0,
        target_modules=targets,
        recipe=told,
        metrics={} if look else {"loss": loss},
        clip=Clip(**run.settings["clip"]),
    )


def _file_metadata(draft: Record) -> dict[str, str]:
    """ModelSpec 1.0.1's musts, and what diffusers reads of a LoRA: alpha equals rank."""
    told = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{draft.fingerprint}/{'lora' if draft.rank else 'textual-inversion'}",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "temporal LoRA" if draft.kind == "motion" else "appearance absorber",
    }
    if not draft.rank:
        return told
    spec: dict[str, Any] = {"r": draft.rank, "lora_alpha": draft.rank, "target_modules": list(draft.target_modules)}
    return told | {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in spec.items()})}
