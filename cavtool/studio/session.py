"""A base model opened once and used many times: by generate, the preview after learning, the demo, benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load

from cavtool.core.adapters.lora import LoraState
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.protocol import Backbone, FramesFHWC
from cavtool.core.diffusion import first_timestep, guided, seeded_noise
from cavtool.core.sampling import sample
from cavtool.errors import IntegrityFailure
from cavtool.models import Model, find_model
from cavtool.registry import Asset


@dataclass(frozen=True)
class Motion:
    """A T-LoRA with its weight, at work at the timesteps it was trained on: from the share `noise_from` of them on."""

    state: LoraState
    weight: float = 1.0
    noise_from: float = 0.0


def motion_of(asset: Asset, weight: float = 1.0) -> Motion:
    """A motion of the registry. Raises IntegrityFailure for damaged weights."""
    name = asset.record.name
    try:
        return Motion(load(asset.read_weights()), weight, float(asset.record.recipe.get("noise_from", 0.0)))
    except (SafetensorError, ValueError) as error:
        raise IntegrityFailure(f"`{name}` is no motion that can be used: {error}") from error


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
        steps: int,
        guidance: float,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> FramesFHWC:
        """One video (F, H, W, 3): the T-LoRAs merged while they work, no absorber loaded (stage 3 of the method)."""
        model, backbone = self.model, self.backbone
        scheduler = backbone.scheduler()
        scheduler.set_timesteps(steps)
        predict = guided(backbone, backbone.encode_text([prompt]), backbone.encode_text([negative]), guidance)
        shape = backbone.latent_shape(model.num_frames, model.height, model.width)
        latents = seeded_noise(shape, seed, backbone.device) * scheduler.init_noise_sigma
        noisy = [scheduler.timesteps >= first_timestep(backbone, motion.noise_from) for motion in motions]
        ends = [max(1, int(steps_S.sum())) for steps_S in noisy]  # before which step each rests
        start = 0
        for stop in sorted({*ends, steps}):
            at_work = [(motion.state, motion.weight) for motion, end in zip(motions, ends, strict=True) if end >= stop]
            with merged(backbone.denoiser, at_work):
                latents = sample(predict, scheduler, latents, start=start, stop=stop, on_step=on_step)
            start = stop
        return backbone.decode(latents)


def open_session(name: str, *, device: str = "auto", dtype: str = "auto", training: bool = False) -> Session:
    """Open a base model by name. Raises NotFound, RequirementError, IntegrityFailure."""
    model = find_model(name)
    return Session(model, open_backbone(model.folder, device=device, dtype=dtype, training=training))
