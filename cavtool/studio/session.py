"""A base model opened once and used many times: by generate, edit, the preview after learning, the demo, benchmarks."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from cavtool.core.adapters.existing import token_of
from cavtool.core.adapters.lora import LoraState, remove_all, targets
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.memory import apply, check_options
from cavtool.core.backbones.protocol import Backbone, FramesFHWC, Part
from cavtool.core.devices import free_unused, resolve_device, resolve_dtype
from cavtool.core.distributed import connect
from cavtool.core.noise import seeded_noise
from cavtool.core.sampling import Predict, sample
from cavtool.errors import Incompatible, IntegrityFailure, InvalidInput
from cavtool.events import OnEvent, Warn
from cavtool.models import CATALOGUE, Model, find_model, hub
from cavtool.models.plan import Task
from cavtool.recipes import AUTO_MEMORY, DEFAULT_MODEL, NO_SAVING, MemoryOptions
from cavtool.registry import Asset
from cavtool.studio.memory import choose
from cavtool.system import processes


@dataclass(frozen=True)
class Motion:
    """A T-LoRA with its weight, merged only at the timesteps it was trained on: those from `noise_from` on.

    `noise_from` is a share in [0, 1) of the timesteps, where 1 is pure noise. A `window`, if there is one, decides
    instead: the part of the sampling from its start (0, pure noise) to its end (1).
    """

    state: LoraState
    weight: float = 1.0
    noise_from: float = 0.0
    window: tuple[float, float] | None = None


def motion_of(asset: Asset, weight: float = 1.0, window: tuple[float, float] | None = None) -> Motion:
    """A motion of the registry. Raises IntegrityFailure for damaged weights."""
    name = asset.record.name
    try:
        return Motion(load(asset.read_weights()), weight, float(asset.record.recipe.get("noise_from", 0.0)), window)
    except (SafetensorError, ValueError) as error:
        raise IntegrityFailure(f"cannot use `{name}` as a motion: {error}") from error


def check_model(asset: Asset, model: Model, on_event: OnEvent) -> None:
    """Raise Incompatible if an asset was learned on another architecture; warn if on other weights of this one."""
    record = asset.record
    if record.fingerprint != model.fingerprint:
        if record.base_model == model.name:
            message = f"`{record.name}` was learned on another version of `{model.name}` and does not fit this one"
            raise Incompatible(message, hint=_how_to_learn_again(asset))
        raise Incompatible(
            f"`{record.name}` was learned on `{record.base_model}` and does not fit `{model.name}`",
            hint=_how_to_fit(record.base_model, model.name),
        )
    if record.revision != model.revision:
        text = f"`{record.name}` was learned on different weights of `{model.name}`; learn it again if it looks wrong"
        on_event(Warn(text))


def warn_if_too_long(session: "Session", prompts: Mapping[str, str], on_event: OnEvent) -> None:
    """Warn of each prompt of which the model reads only the beginning; the prompts by what they are."""
    for what, prompt in prompts.items():
        if rest := session.backbone.truncated(prompt):
            beginning = shorten(rest, 60, placeholder=" …")
            on_event(Warn(f"{what} is too long: `{session.model.name}` ignores it from `{beginning}` on"))


def _how_to_learn_again(asset: Asset) -> str:
    """The command that does so, if the clip is there."""
    record = asset.record
    if record.kind != "motion" or not asset.reference.exists():
        return "learn it again, or use the folder of that version with `--model FOLDER`"
    captions = {"--prompt": record.prompt, "--appearance": record.appearance, "--model": record.base_model}
    if record.base_model == DEFAULT_MODEL:
        del captions["--model"]
    options = [part for option, text in captions.items() if text for part in (option, text)]
    command = shlex.join(["cav", "learn", record.name, str(asset.reference), *options, "--force"])
    return f"learn it again from the clip that is kept: `{command}`"


def _how_to_fit(learned_on: str, model: str) -> str:
    """What to do with an asset that was learned on another model."""
    known = learned_on in CATALOGUE or hub.is_hub_id(learned_on)
    option = f"`--model {learned_on}`" if known else f"`--model FOLDER` with the folder of `{learned_on}`"
    return f"use {option}, or learn it again on `{model}`"


@dataclass(frozen=True)
class Session:
    """A base model and its opened backbone.

    `candidates` are the memory options in use, and those to apply next if memory runs out. Unless it `keeps_parts`, the
    text encoder and the VAE leave the accelerator after each use.
    """

    model: Model
    backbone: Backbone
    candidates: tuple[MemoryOptions, ...] = (NO_SAVING,)
    is_training: bool = False
    keeps_parts: bool = True

    @property
    def memory(self) -> MemoryOptions:
        """The memory options in use."""
        return self.candidates[0]

    def with_next_options(self) -> "Session":
        """The same backbone, without injected LoRAs and with one more memory option."""
        candidates = self.candidates[1:]
        remove_all(self.backbone.denoiser)
        self._release_parts()
        apply(self.backbone, candidates[0])
        free_unused()
        return replace(self, candidates=candidates, keeps_parts=False)

    def generate(
        self,
        prompt: str,
        seed: int,
        motions: Sequence[Motion] = (),
        *,
        turns: bool = False,
        styles: Sequence[LoraState] = (),
        negative: str = "",
        steps: int | None = None,
        guidance: float | None = None,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> FramesFHWC:
        """One video (F, H, W, 3) of the model's native size (stage 3 of Ren et al. 2024).

        `styles` are absorbers to use at all timesteps; the ones that the motions were learned with are not loaded.
        `steps` and `guidance` are the model's own if None.
        """
        native, backbone = self.model.native, self.backbone
        clip, steps = native.clip, steps or native.steps
        guidance = native.guidance if guidance is None else guidance
        scheduler = backbone.scheduler()
        scheduler.set_timesteps(steps)
        token = token_of(styles, backbone)
        texts = {"positive": backbone.encode_text([prompt], token), "negative": backbone.encode_text([negative])}
        predict = partial(backbone.predict_guided, **texts, guidance_scale=guidance)
        shape = backbone.latent_shape(clip.num_frames, clip.height, clip.width)
        latents = seeded_noise(shape, seed, backbone.device) * scheduler.init_noise_sigma
        latents = self.denoise(predict, scheduler, latents, motions, turns=turns, styles=styles, on_step=on_step)
        return self.decode(latents)

    def decode(self, latents_BCFHW: Tensor) -> FramesFHWC:
        """The frames (F, H, W, 3) of latents."""
        frames = self.backbone.decode(latents_BCFHW)
        self.make_room()
        return frames

    def make_room(self) -> None:
        """Move the text encoder and the VAE off the accelerator, unless all parts fit there."""
        if not self.keeps_parts:
            self._release_parts()

    def _release_parts(self) -> None:
        parts: tuple[Part, ...] = ("vae", "text_encoder")
        for part in parts:
            self.backbone.release(part)

    def denoise(
        self,
        predict: Predict,
        scheduler: Any,
        latents_BCFHW: Tensor,
        motions: Sequence[Motion] = (),
        *,
        turns: bool = False,
        styles: Sequence[LoraState] = (),
        start: int = 0,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Sample from the step with index `start` to the end, motions merged for their steps, styles for all.

        With `turns`, only one of a step's motions is merged, each in turn: over the steps, about the mean of what they
        predict alone. No model was trained on the sum of their weights. Raises InvalidInput if weights or guidance are
        so large that the result is not finite.
        """
        self.make_room()
        spans = [self.span_of(motion, scheduler) for motion in motions]
        loras = [(state, 1.0) for state in styles if targets(state)]
        num_steps = len(scheduler.timesteps)
        cuts = set(range(num_steps + 1)) if turns else {*chain.from_iterable(spans), num_steps}
        for stop in sorted(cut for cut in cuts if cut > start):
            active = [
                (motion.state, motion.weight)
                for motion, (first, end) in zip(motions, spans, strict=True)
                if first <= start and stop <= end
            ]
            if turns and active:
                active = [active[start % len(active)]]
            with merged(self.backbone.denoiser, [*loras, *active]):
                latents_BCFHW = sample(predict, scheduler, latents_BCFHW, start=start, stop=stop, on_step=on_step)
            start = stop
        if not torch.isfinite(latents_BCFHW).all():
            hint = "use smaller weights, a lower `--guidance` or more `--steps`; learn a motion with a lower `--lr`"
            raise InvalidInput("the model gave values that are not finite, so there is no video to write", hint=hint)
        return latents_BCFHW

    @contextmanager
    def at_sampling_precision(self) -> Iterator[None]:
        """Within the context a backbone that was opened for training computes as it does for `cav generate`."""
        in_training = self.backbone.dtype
        self.backbone.dtype = resolve_dtype("auto", self.backbone.device, training=False)
        try:
            yield
        finally:
            self.backbone.dtype = in_training

    def span_of(self, motion: Motion, scheduler: Any) -> tuple[int, int]:
        """The sampling steps during which the motion is merged: the first, and the one after the last; at least one."""
        if motion.window is None:
            trained_S = scheduler.timesteps >= self.backbone.first_timestep(motion.noise_from)
            return 0, max(1, int(trained_S.sum()))
        num_steps = len(scheduler.timesteps)
        first = min(round(motion.window[0] * num_steps), num_steps - 1)
        return first, max(first + 1, round(motion.window[1] * num_steps))


def open_session(
    model: Model | str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    training: bool = False,
    memory: MemoryOptions = AUTO_MEMORY,
    batch_size: int = 1,
    rank: int = 0,
) -> Session:
    """Open a base model; by its name, only one that comes with the package, or a folder.

    `memory` options that are None or 0 are chosen by the free memory, for training with this batch size and rank or for
    sampling. Raises NotFound, RequirementError, IntegrityFailure.
    """
    model = find_model(model) if isinstance(model, str) else model
    device = resolve_device(device)
    if processes.num_processes() > 1:
        connect(device)
    compute = resolve_dtype(dtype, device, training=training)
    check_options(memory)
    task: Task = "learn" if training else "generate"
    candidates, all_fit = choose(model, task, memory, device=device, dtype=compute, batch_size=batch_size, rank=rank)
    backbone = open_backbone(
        model.folder, device=device, dtype=compute, flow_shift=model.native.flow_shift, memory=candidates[0]
    )
    return Session(model, backbone, candidates, training, keeps_parts=all_fit and not training)
