"""The two training stages of Ren et al. 2024 and a preview, with checkpoints from which a run can be resumed.

A checkpoint holds `stage` (1 absorber, 2 motion), `smoothed` (the loss), the trainer's state under `trainer.`, and in
stage 2 the absorber that stage 1 has trained under `absorber.`, and the trials so far under `trials.`. An existing
absorber is in the run's inputs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import (
    ADAPTER,
    Stills,
    absorber_loss,
    load_absorber,
    motion_loss,
    new_absorber,
)
from cavtool.core.adapters.existing import applied, token_of
from cavtool.core.adapters.heads import Heads, other_heads, restrict
from cavtool.core.adapters.lora import LoraState
from cavtool.core.distributed import StepLoss, any_process, from_main, in_shares, new_accelerator, shares_of
from cavtool.core.trainer import Trainer
from cavtool.errors import InvalidInput, TrainingError
from cavtool.events import Event, Interrupted, Note, OnEvent, Stage, Step, Warn, to_json
from cavtool.recipes import AbsorberKind, AbsorbRecipe, LearnRecipe
from cavtool.runs import Run
from cavtool.studio.learn.choose import EVERY, Trials
from cavtool.studio.learn.prepare import ABSORBER, HEADS
from cavtool.studio.session import Motion, Session
from cavtool.studio.weights import save_tensors
from cavtool.system.processes import is_main

MOTION_ADAPTER = "cav_motion"
CHECKPOINT_EVERY = 50  # steps
PREVIEW_STEPS: int | None = None  # the model's own
_LONGER = "learn it for longer, `--steps {}`, or choose another part of the video with `--start`"
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

    @property
    def temporal_heads(self) -> Heads:
        """The heads that the motion trains, {} for models whose layers are temporal as a whole."""
        return _under(HEADS, self.inputs)

    def begin(self, stage: str) -> None:
        """Report the start of a stage."""
        stages = [*_STAGES] if self.recipe.trains_absorber else ["motion", "preview"]
        self.report(Stage(stage, stages.index(stage) + 1, len(stages)))

    def report(self, event: Event) -> None:
        """Pass the event to the caller and write it to the run's log, once if there are several processes."""
        if is_main():
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
        trainer = absorber_trainer(self.session, absorb, self.inputs["crops"], spatial)
        self._train(trainer, "absorber")
        state = lora.extract(trainer.params)
        lora.remove_all(self.session.backbone.denoiser)
        return state

    def train_motion(self, prompt: str, absorber: LoraState) -> tuple[LoraState, dict[str, float]]:
        """Stage 2: train the T-LoRA with the absorber, or existing ones, loaded and frozen.

        Returns the T-LoRA and its metrics: the last smoothed loss or, if trials chose it, its step and scores.
        """
        backbone, recipe = self.session.backbone, self.recipe
        existing = _under(ABSORBER, self.inputs)
        token = load_absorber(backbone, absorber) if absorber else token_of([existing], backbone)
        latents = self.inputs["latents"].to(backbone.device)
        first = recipe.total_steps - recipe.motion_steps
        loss_at = motion_loss(
            backbone,
            latents,
            prompt,
            token,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            first_step=first,
            noise_from=self.noise_from,
        )
        backbone.release("text_encoder")
        targets = backbone.temporal_targets()
        params = lora.inject(backbone.denoiser, MOTION_ADAPTER, targets, recipe.rank, seed=recipe.seed)
        restrict(params, self.temporal_heads)
        trainer = new_trainer(self.session, params, loss_at, recipe.batch_size, recipe.motion_steps, recipe.lr)
        finished = {f"{ABSORBER}{key}": value for key, value in absorber.items()}
        trials = self._trials()
        with ExitStack() as absorbing:
            absorbing.enter_context(applied(backbone, existing))

            def is_over(step: int) -> bool:
                return trials is not None and step % EVERY == 0 and from_main(partial(try_out, trials, step))

            def try_out(trials: Trials, step: int) -> bool:
                absorbing.close()
                names = (ADAPTER, MOTION_ADAPTER)
                with lora.switched_off(backbone.denoiser, *names):
                    trials.add(step, lora.extract(trainer.averages))
                absorbing.enter_context(applied(backbone, existing))
                return trials.are_over

            def also() -> LoraState:
                return finished | ({f"trials.{key}": value for key, value in trials.state().items()} if trials else {})

            loss = self._train(trainer, "motion", also, is_over)
        state = lora.extract(trainer.averages)
        lora.remove_all(backbone.denoiser)
        if trials is None or not is_main():
            return state, {"loss": loss}
        self.report(Note(trials.summary()))
        if not trials.is_learned:
            self.report(Warn(f"new videos hardly follow the motion: {_LONGER.format(2 * recipe.motion_steps)}"))
        best = trials.best
        scores = {"step": float(best.step), "fidelity": best.fidelity, "leakage": best.leakage}
        return trials.best_state, scores

    def _trials(self) -> Trials | None:
        """The trials so far; None if the recipe sets the number of steps or nothing moves that could be followed."""
        if self.recipe.steps:
            return None
        trials = Trials(self.session, self.inputs["frames"].numpy(), self.recipe.seed, self.noise_from)
        if not trials.are_possible:
            self.report(Warn(f"nothing moves: training for {self.recipe.motion_steps} steps without trials"))
            return None
        trials.load(_under("trials.", self.saved) if self.saved_stage == 2 else {})
        return trials

    def preview(self, prompt: str, motion: LoraState) -> video.Frames:
        """What `cav generate` makes of the reference's own prompt with the new motion and the seed of the training."""
        self.begin("preview")
        num_steps, began = PREVIEW_STEPS or self.session.model.native.steps, time.monotonic()

        def on_step(step: int) -> None:
            self.report(Step("preview", step, num_steps, None, round(time.monotonic() - began, 3)))
            if self.should_stop():
                raise Interrupted(self.run.id)

        motions = [Motion(motion, noise_from=self.noise_from)]
        with self.session.at_sampling_precision():
            try:
                return self.session.generate(prompt, self.recipe.seed, motions, steps=num_steps, on_step=on_step)
            except InvalidInput as error:
                hint = "learn it again with a lower `--lr`, or a small `--steps`"
                raise TrainingError(
                    "the motion is not saved: its preview has values that are not finite", hint=hint
                ) from error

    def _train(
        self,
        trainer: Trainer,
        name: str,
        also: Callable[[], LoraState] = dict,
        is_over: Callable[[int], bool] = lambda _: False,
    ) -> float:
        """Run a stage; returns its last smoothed loss. Raises Interrupted.

        `also` gives what each checkpoint holds besides; `is_over`, called after every step, ends the stage early. The
        last checkpoint of a stage has the number of the stage's last step, also if the stage ended early.
        """
        began, smoothed, stage = time.monotonic(), 0.0, 1 + _STAGES.index(name)
        offset = self.recipe.total_steps - self.recipe.motion_steps if name == "motion" else 0
        if self.saved_stage == stage:
            trainer.load(_under("trainer.", self.saved))
            smoothed = self.saved["smoothed"].item()
        self.begin(name)
        if self.saved_stage == stage and bool(self.saved.get("over", torch.tensor(0))):
            return smoothed
        for loss in trainer.run():
            smoothed = smooth(smoothed, loss)
            self.report(Step(name, trainer.step, trainer.num_steps, loss, round(time.monotonic() - began, 3)))
            over, stopping = is_over(trainer.step), any_process(self.should_stop())
            if stopping or over or trainer.step % CHECKPOINT_EVERY == 0 or trainer.step == trainer.num_steps:
                state = {f"trainer.{key}": value.cpu() for key, value in trainer.state().items()}
                state |= {
                    **also(),
                    "stage": torch.tensor(stage),
                    "smoothed": torch.tensor(smoothed, dtype=torch.float64),
                }
                if over:
                    state["over"] = torch.tensor(1)
                number = trainer.num_steps if over else trainer.step
                if is_main():
                    self.run.checkpoint(offset + number, lambda path, state=state: save_tensors(state, path))  # type: ignore[misc]
            if stopping:
                raise Interrupted(self.run.id)
            if over:
                break
        return smoothed


def new_trainer(
    session: Session,
    params: Mapping[str, nn.Parameter],
    loss_at: StepLoss,
    batch_size: int,
    num_steps: int,
    lr: float,
) -> Trainer:
    """A trainer on this process's shares of each batch, in as many parts as the session's memory options say."""
    shares = shares_of(batch_size, session.memory.gradient_accumulation_steps)
    accelerator = new_accelerator(session.backbone.device, session.backbone.dtype)
    losses_at = in_shares(loss_at, shares)
    return Trainer(params, losses_at, num_steps, lr, accelerator=accelerator, num_parts=len(shares))


def absorber_trainer(
    session: Session,
    recipe: AbsorbRecipe,
    crops_NCFHW: Tensor,
    heads: Heads | None = None,
    own: Sequence[Stills] = (),
) -> Trainer:
    """The trainer of stage 1, over the parameters of a new absorber that it adds to the backbone.

    `heads` as in `new_absorber`, `own` as in `absorber_loss`.
    """
    backbone = session.backbone
    params = new_absorber(
        backbone,
        recipe.prompt,
        with_lora=recipe.kind is not AbsorberKind.TEXTINV,
        with_token=recipe.kind is not AbsorberKind.S_LORA,
        rank=recipe.rank,
        seed=recipe.seed,
        heads=heads,
    )
    batch = (4 if own else 8) * recipe.batch_size  # a single frame costs little
    loss_at = absorber_loss(backbone, params, crops_NCFHW, recipe.prompt, batch_size=batch, seed=recipe.seed, own=own)
    return new_trainer(session, params, loss_at, batch, recipe.num_steps, recipe.lr)


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
