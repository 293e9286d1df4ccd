"""A base model opened once and used many times: by generate, the preview after learning, the demo, benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cavtool.core import lora
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.base import Backbone, FramesFHWC
from cavtool.core.diffusion import guided, seeded_noise
from cavtool.core.lora import LoraState
from cavtool.core.sampling import sample
from cavtool.models import Model, find_model


@dataclass(frozen=True)
class Session:
    """A base model and its opened backbone."""

    model: Model
    backbone: Backbone

    def generate(
        self,
        prompt: str,
        seed: int,
        motions: Sequence[tuple[LoraState, float]] = (),
        *,
        negative: str = "",
        steps: int,
        guidance: float,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> FramesFHWC:
        """One video (F, H, W, 3): the T-LoRAs merged while it is made, no absorber loaded (stage 3 of the method)."""
        model, backbone = self.model, self.backbone
        scheduler = backbone.scheduler()
        scheduler.set_timesteps(steps)
        predict = guided(backbone, backbone.encode_text([prompt]), backbone.encode_text([negative]), guidance)
        shape = backbone.latent_shape(model.num_frames, model.height, model.width)
        noise = seeded_noise(shape, seed, backbone.device) * scheduler.init_noise_sigma
        with lora.merged(backbone.denoiser, motions):
            latents = sample(predict, scheduler, noise, on_step=on_step)
        return backbone.decode(latents)


def open_session(name: str, *, device: str = "auto", dtype: str = "auto", training: bool = False) -> Session:
    """Open a base model by name. Raises NotFound, RequirementError, IntegrityFailure."""
    model = find_model(name)
    return Session(model, open_backbone(model.folder, device=device, dtype=dtype, training=training))
