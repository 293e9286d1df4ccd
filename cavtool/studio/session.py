"""A base model opened once and used many times: by generate, the preview after learning, the demo, benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load

from cavtool.core.adapters.lora import LoraState
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.protocol import Backbone, FramesFHWC
from cavtool.core.noise import seeded_noise
from cavtool.core.sampling import sample
from cavtool.errors import IntegrityFailure
from cavtool.models import Model, find_model
from cavtool.registry import Asset


@dataclass(frozen=True)
class Motion:
    """A T-LoRA with its weight, merged only at the timesteps it was trained on: those from `noise_from` on.

    `noise_from` is a share in [0, 1) of the timesteps, where 1 is pure noise.
    """

    state: LoraState
    weight: float = 1.0
    noise_from: float = 0.0


def motion_of(asset: Asset, weight: float = 1.0) -> Motion:
    """A motion of the registry. Raises IntegrityFailure for damaged weights."""
    name = asset.record.name
    try:
        return Motion(load(asset.read_weights()), weight, float(asset.record.recipe.get("noise_from", 0.0)))
    except (SafetensorError, ValueError) as error:
        raise IntegrityFailure(f"cannot use `{name}` as a motion: {error}") from error


@dataclass(frozen=True)
class Session:
    """A base model and its opened backbone."""

    model: Model
    backbone: Backbone

    def generate(
        self,
        prompt: str,
        seed: int,
        motions: Sequence[Motion] = (),
        *,
        negative: str = "",
        steps: int | None = None,
        guidance: float | None = None,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> FramesFHWC:
        """One video (F, H, W, 3) of the model's native size, without any absorber (stage 3 of Ren et al. 2024).

        `steps` and `guidance` are the model's own if None.
        """
        native, backbone = self.model.native, self.backbone
        clip, steps = native.clip, steps or native.steps
        guidance = native.guidance if guidance is None else guidance
        scheduler = backbone.scheduler()
        scheduler.set_timesteps(steps)
        texts = {"positive": backbone.encode_text([prompt]), "negative": backbone.encode_text([negative])}
        predict = partial(backbone.predict_guided, **texts, guidance_scale=guidance)
        shape = backbone.latent_shape(clip.num_frames, clip.height, clip.width)
        latents = seeded_noise(shape, seed, backbone.device) * scheduler.init_noise_sigma
        ends = [self._end_of(motion, scheduler) for motion in motions]
        start = 0
        for stop in sorted({*ends, steps}):
            active = [(motion.state, motion.weight) for motion, end in zip(motions, ends, strict=True) if end >= stop]
            with merged(backbone.denoiser, active):
                latents = sample(predict, scheduler, latents, start=start, stop=stop, on_step=on_step)
            start = stop
        return backbone.decode(latents)

    def _end_of(self, motion: Motion, scheduler: Any) -> int:
        """The number of sampling steps, counted from the first, during which the motion is merged; at least 1."""
        trained_S = scheduler.timesteps >= self.backbone.first_timestep(motion.noise_from)
        return max(1, int(trained_S.sum()))


def open_session(model: Model | str, *, device: str = "auto", dtype: str = "auto", training: bool = False) -> Session:
    """Open a base model; by its name, only one that comes with the package, or a folder.

    Raises NotFound, RequirementError, IntegrityFailure.
    """
    model = find_model(model) if isinstance(model, str) else model
    return Session(model, open_backbone(model.folder, device=device, dtype=dtype, training=training))
