"""The two training stages of Ren et al. 2024 and a preview, with checkpoints from which a run can be resumed.

A checkpoint holds `stage` (1 absorber, 2 motion), `smoothed` (the loss), the trainer's state under `trainer.`, and in
stage 2 the finished absorber under `absorber.`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import absorber_loss, load_absorber, new_absorber
from cavtool.core.adapters.lora import LoraState
from cavtool.core.losses import denoising_loss
from cavtool.core.noise import step_generator
from cavtool.core.trainer import Trainer
from cavtool.errors import TrainingError
from cavtool.events import Event, Interrupted, OnEvent, Stage, Step, Warn, to_json
from cavtool.recipes import AbsorberKind, LearnRecipe
from cavtool.runs import Run
from cavtool.studio.session import Motion, Session

MOTION_ADAPTER = "cav_motion"
CHECKPOINT_EVERY = 50  # steps
RESTART_HINT = "start it again with `cav learn`"
_STAGES = ("absorber", "motion", "preview")


@dataclass
class Training:
    """One run in training: everything that its stages share."""

    run: Run
    session: Session
    recipe: LearnRecipe
    inputs: Mapping[str, Tensor]
    saved: LoraState  # the checkpoint to resume from, {} for none
    on_event: OnEvent
    should_stop: Callable[[], bool]

    @property
    def saved_stage(self) -> int:
        """The stage to resume from, 0 for none."""
        return int(self.saved.get("stage", torch.tensor(0)))

    @property
    def noise_from(self) -> float:
        """The share of the timesteps from which on the motion is trained and applied."""
        asked = self.recipe.noise_from
        return self.session.model.native.noise_from if asked is None else asked

    def begin(self, stage: str) -> None:
        """Report the start of a stage."""
        stages = ["motion", "preview"] if self.recipe.absorber_kind is AbsorberKind.NONE else [*_STAGES]
        self.report(Stage(stage, stages.index(stage) + 1, len(stages)))

    def report(self, event: Event) -> None:
        """Pass the event to the caller and write it to the run's log."""
        self.on_event(event)
        self.run.log(to_json(event))

    def train_absorber(self, appearance: str) -> LoraState:
        """Stage 1: the trained absorber, which may be in the checkpoint already; {} if the recipe has none."""
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
        batch = 8 * recipe.batch_size  # a single frame costs little
        loss_at = absorber_loss(backbone, params, self.inputs["crops"], appearance, batch_size=batch, seed=recipe.seed)
        trainer = Trainer(params, loss_at, recipe.absorber_steps, recipe.absorber_lr)
        self._train(trainer, "absorber", {})
        state = lora.extract(params)
        lora.remove_all(backbone.denoiser)
        return state

    def train_motion(self, prompt: str, absorber: LoraState) -> tuple[LoraState, float]:
        """Stage 2: train the T-LoRA with the absorber loaded and frozen; returns it and its last smoothed loss."""
        backbone, recipe = self.session.backbone, self.recipe
        token = load_absorber(backbone, absorber)
        conditioning = backbone.encode_text([prompt], token)
        backbone.release("text_encoder")
        targets = backbone.temporal_targets()
        params = lora.inject(backbone.denoiser, MOTION_ADAPTER, targets, recipe.rank, seed=recipe.seed)
        latents = self.inputs["latents"].to(backbone.device).repeat(recipe.batch_size, 1, 1, 1, 1)
        first = recipe.total_steps - recipe.steps

        def loss_at(step: int) -> Tensor:  # Ren et al. 2024, equation (5)
            generator = step_generator(recipe.seed, first + step)
            return denoising_loss(backbone, latents, conditioning, generator, noise_from=self.noise_from)

        trainer = Trainer(params, loss_at, recipe.steps, recipe.lr)
        finished = {f"absorber.{key}": value for key, value in absorber.items()}
        loss = self._train(trainer, "motion", finished)
        state = lora.extract(params)
        lora.remove_all(backbone.denoiser)
        return state, loss

    def preview(self, prompt: str, motion: LoraState) -> video.Frames:
        """A video of the reference's own prompt with the new motion, from other noise."""
        self.begin("preview")
        num_steps, began = self.session.model.native.steps, time.monotonic()

        def on_step(step: int) -> None:
            self.report(Step("preview", step, num_steps, None, round(time.monotonic() - began, 3)))
            if self.should_stop():
                raise Interrupted(self.run.id)

        motions = [Motion(motion, noise_from=self.noise_from)]
        return self.session.generate(prompt, self.recipe.seed, motions, on_step=on_step)

    def _train(self, trainer: Trainer, name: str, finished: Mapping[str, Tensor]) -> float:
        """Run a stage, with `finished` in each checkpoint; returns its last smoothed loss. Raises Interrupted."""
        began, smoothed, stage = time.monotonic(), 0.0, 1 + _STAGES.index(name)
        if self.saved_stage == stage:
            trainer.load(_under("trainer.", self.saved))
            smoothed = self.saved["smoothed"].item()
        self.begin(name)
        offset = self.recipe.total_steps - self.recipe.steps if name == "motion" else 0
        for loss in trainer.run():
            smoothed = loss if not smoothed else 0.95 * smoothed + 0.05 * loss
            self.report(Step(name, trainer.step, trainer.num_steps, loss, round(time.monotonic() - began, 3)))
            stopping = self.should_stop()
            if stopping or trainer.step % CHECKPOINT_EVERY == 0 or trainer.step == trainer.num_steps:
                state = {f"trainer.{key}": value.cpu() for key, value in trainer.state().items()}
                state |= {
                    **finished,
                    "stage": torch.tensor(stage),
                    "smoothed": torch.tensor(smoothed, dtype=torch.float64),
                }
                self.run.checkpoint(offset + trainer.step, lambda path, state=state: save_file(state, path))  # type: ignore[misc]
            if stopping:
                raise Interrupted(self.run.id)
        return smoothed


def read_latest(run: Run, on_event: OnEvent) -> LoraState:
    """The latest checkpoint that is not damaged, {} if there is none yet. Raises TrainingError if all are damaged."""
    damaged: list[TrainingError] = []
    for _, path in reversed(run.checkpoints()):
        try:
            state = read_state(path)
        except TrainingError as error:
            damaged.append(error)
            continue
        for failure in damaged:
            on_event(Warn(f"{failure.message}: resuming from the one before"))
        return state
    if damaged:
        raise damaged[0]
    return {}


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of a run. Raises TrainingError if it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"`{path.name}` of run `{path.parent.name}` is damaged", hint=RESTART_HINT) from error


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
