"""Training losses. Shapes: B batch, F frames, C channels, H W of latents."""

import torch
from torch import Tensor

from cavtool.core.backbones.protocol import Backbone, Conditioning
from cavtool.core.distributed import WHOLE, Share


def denoising_loss(
    backbone: Backbone,
    latents_BCFHW: Tensor,
    conditioning: Conditioning,
    generator: torch.Generator,
    *,
    noise_from: float = 0.0,
    share: Share = WHOLE,
) -> Tensor:
    """E‖ε - ε_θ(x_t, t, τ(y))‖², the mean over all elements (Ren et al. 2024).

    Equations (3) and (4) for single frames with time bypassed, equation (5) for whole clips; v in place of ε for models
    that predict v. Noise, then timesteps are drawn from the generator, for the whole batch; `noise_from` as in
    `Backbone.draw_timesteps`. With a `share`, the mean is over its elements, times its weight.
    """
    num_rows = len(latents_BCFHW)
    noise_BCFHW = torch.randn(latents_BCFHW.shape, generator=generator)
    timesteps_B = backbone.draw_timesteps(generator, num_rows, noise_from)
    latents_BCFHW, noise_BCFHW, timesteps_B = (
        each[share.rows(num_rows)].to(backbone.device) for each in (latents_BCFHW, noise_BCFHW, timesteps_B)
    )
    noisy_BCFHW = backbone.add_noise(latents_BCFHW, noise_BCFHW, timesteps_B)
    predicted = backbone.predict(noisy_BCFHW, timesteps_B, conditioning)
    target = backbone.target(latents_BCFHW, noise_BCFHW, timesteps_B)
    return (predicted - target).square().mean() * share.weight(num_rows)
