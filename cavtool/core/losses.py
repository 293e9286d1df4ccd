"""Training losses. Shapes: B batch, F frames, C channels, H W of latents."""

import torch
from torch import Tensor

from cavtool.core.backbones.protocol import Backbone, Conditioning


def denoising_loss(
    backbone: Backbone,
    latents_BCFHW: Tensor,
    conditioning: Conditioning,
    generator: torch.Generator,
    *,
    noise_from: float = 0.0,
) -> Tensor:
    """E‖ε - ε_θ(x_t, t, τ(y))‖², the mean over all elements (Ren et al. 2024).

    Equations (3) and (4) for single frames with time bypassed, equation (5) for whole clips; v in place of ε for models
    that predict v. Noise, then timesteps are drawn from the generator; `noise_from` as in `Backbone.draw_timesteps`.
    """
    noise_BCFHW = torch.randn(latents_BCFHW.shape, generator=generator).to(latents_BCFHW.device)
    timesteps_B = backbone.draw_timesteps(generator, len(latents_BCFHW), noise_from)
    noisy_BCFHW = backbone.add_noise(latents_BCFHW, noise_BCFHW, timesteps_B)
    predicted = backbone.predict(noisy_BCFHW, timesteps_B, conditioning)
    target = backbone.target(latents_BCFHW, noise_BCFHW, timesteps_B)
    return (predicted - target).square().mean()
