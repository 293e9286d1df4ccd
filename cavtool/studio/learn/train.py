"""The two training stages of Ren et al. 2024 and a preview, with checkpoints from which a run can be resumed.

A checkpoint holds `stage` (1 absorber, 2 motion), `smoothed` (the loss), the trainer's state under `trainer.`, and in
stage 2 the absorber that stage 1 has trained under `absorber.`. An existing absorber is in the run's inputs.
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
from cavtool.core.adapters.absorber import absorber_loss, load_absorber, motion_loss, new_absorber
from cavtool.core.adapters.existing import applied
from cavtool.core.adapters.heads import Heads, other_heads, restrict
from cavtool.core.adapters.lora import LoraState
from cavtool.core.backbones.protocol import Backbone
from cavtool.core.trainer import Trainer
from cavtool.errors import TrainingError
from cavtool.events import Event, Interrupted, OnEvent, Stage, Step, Warn, to_json
from cavtool.recipes import AbsorberKind, AbsorbRecipe, LearnRecipe, SampleRecipe
from cavtool.runs import Run
from cavtool.studio.learn.prepare import ABSORBER, HEADS
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
    def temporal_heads(self) -> Heads:
        """The heads that the motion trains, {} for models whose layers are temporal as a whole."""
        return _under(HEADS, self.inputs)

    def begin(self, stage: str) -> None:
        """Report the start of a stage."""
        stages = [*_STAGES] if self.recipe.trains_absorber else ["motion", "preview"]
        self.report(Stage(stage, stages.index(stage) + 1, len(stages)))

    def report(self, event: Event) -> None:
        """Pass the event to the caller and write it to the run's log."""
        self.on_event(event)
        self.run.log(to_json(event))

    def train_absorber(self, appearance: str) -> LoraState:
        """Stage 1: the trained absorber, which may be in the checkpoint already; {} if the recipe has none."""
        recipe = self.recipe
        if not recipe.trains_absorber:
            return {}
        if self.saved_stage == 2:
            return _under(ABSORBER, self.saved)
        absorb = AbsorbRecipe(
            prompt=appearance,
            kind=recipe.absorber_kind,
            steps=recipe.absorber_steps,
            rank=recipe.rank,
            lr=recipe.absorber_lr,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
        )
        spatial = other_heads(self.temporal_heads)
        trainer = absorber_trainer(self.session.backbone, absorb, self.inputs["crops"], spatial)
        self._train(trainer, "absorber", {})
        state = lora.extract(trainer.params)
        lora.remove_all(self.session.backbone.denoiser)
        return state

    def train_motion(self, prompt: str, absorber: LoraState) -> tuple[LoraState, float]:
        """Stage 2: train the T-LoRA with the absorber, or existing ones, loaded and frozen.

        Returns the T-LoRA and its last smoothed loss.
        """
        with applied(self.session.backbone, _under(ABSORBER, self.inputs)) as token:
            return self._train_motion(prompt, absorber, token)

    def _train_motion(self, prompt: str, absorber: LoraState, token: Tensor | None) -> tuple[LoraState, float]:
        backbone, recipe = self.session.backbone, self.recipe
        if absorber:
            token = load_absorber(backbone, absorber)
        latents = self.inputs["latents"].to(backbone.device).repeat(recipe.batch_size, 1, 1, 1, 1)
        first = recipe.total_steps - recipe.steps
        loss_at = motion_loss(
            backbone, latents, prompt, token, seed=recipe.seed, first_step=first, noise_from=recipe.noise_from
        )
        backbone.release("text_encoder")
        targets = backbone.temporal_targets()
        params = lora.inject(backbone.denoiser, MOTION_ADAPTER, targets, recipe.rank, seed=recipe.seed)
        restrict(params, self.temporal_heads)
        trainer = Trainer(params, loss_at, recipe.steps, recipe.lr)
        finished = {f"{ABSORBER}{key}": value for key, value in absorber.items()}
        loss = self._train(trainer, "motion", finished)
        state = lora.extract(params)
        lora.remove_all(backbone.denoiser)
        return state, loss

    def preview(self, prompt: str, motion: LoraState) -> video.Frames:
        """A video of the reference's own prompt with the new motion, from other noise."""
        self.begin("preview")
        defaults, began = SampleRecipe(prompt), time.monotonic()

        def on_step(step: int) -> None:
            self.report(Step("preview", step, defaults.steps, None, round(time.monotonic() - began, 3)))
            if self.should_stop():
                raise Interrupted(self.run.id)

        motions = [Motion(motion, noise_from=self.recipe.noise_from)]
        return self.session.generate(
            prompt, self.recipe.seed, motions, steps=defaults.steps, guidance=defaults.guidance, on_step=on_step
        )

    def _train(self, trainer: Trainer, name: str, finished: Mapping[str, Tensor]) -> float:
        """Run a stage, with `finished` in each checkpoint; returns its last smoothed loss. Raises Interrupted."""
        began, smoothed, stage = time.monotonic(), 0.0, 1 + _STAGES.index(name)
        if self.saved_stage == stage:
            trainer.load(_under("trainer.", self.saved))
            smoothed = self.saved["smoothed"].item()
        self.begin(name)
        offset = self.recipe.total_steps - self.recipe.steps if name == "motion" else 0
        for loss in trainer.run():
            smoothed = smooth(smoothed, loss)
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


def absorber_trainer(
    backbone: Backbone, recipe: AbsorbRecipe, crops_NCFHW: Tensor, heads: Heads | None = None
) -> Trainer:
    """The trainer of stage 1, over the parameters of a new absorber that it adds to the backbone.

    `heads` as in `new_absorber`.
    """
    params = new_absorber(
        backbone,
        recipe.prompt,
        with_lora=recipe.kind is not AbsorberKind.TEXTINV,
        with_token=recipe.kind is not AbsorberKind.S_LORA,
        rank=recipe.rank,
        seed=recipe.seed,
        heads=heads,
    )
    batch = 8 * recipe.batch_size  # a single frame costs little
    loss_at = absorber_loss(backbone, params, crops_NCFHW, recipe.prompt, batch_size=batch, seed=recipe.seed)
    return Trainer(params, loss_at, recipe.steps, recipe.lr)


def smooth(smoothed: float, loss: float) -> float:
    """The running mean of the losses, the first of which starts it."""
    return loss if not smoothed else 0.95 * smoothed + 0.05 * loss


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
