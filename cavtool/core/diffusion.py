"""Pure functions of diffusion training and sampling. Shapes: B batch, F frames, C channels, H W of latents."""

from collections.abc import Callable

import torch
from torch import Tensor

from cavtool.core.backbones.protocol import Backbone, Conditioning

Predict = Callable[[Tensor, Tensor], Tensor]


def denoising_loss(
    backbone: Backbone,
    latents_BCFHW: Tensor,
    conditioning: Conditioning,
    generator: torch.Generator,
    *,
    noise_from: float = 0.0,
) -> Tensor:
    """Mean squared error at uniform timesteps, all drawn from the generator (Ren et al. 2024, equations 3 to 5).

    Of the timesteps only those from the share `noise_from` in [0, 1) on, where 1 is pure noise.
    """
    noise_BCFHW = torch.randn(latents_BCFHW.shape, generator=generator).to(latents_BCFHW.device)
    first, end = first_timestep(backbone, noise_from), backbone.num_train_timesteps
    timesteps_B = torch.randint(first, end, latents_BCFHW.shape[:1], generator=generator)
    timesteps_B = timesteps_B.to(latents_BCFHW.device)
    noisy_BCFHW = backbone.add_noise(latents_BCFHW, noise_BCFHW, timesteps_B)
    predicted = backbone.predict(noisy_BCFHW, timesteps_B, conditioning)
    target = backbone.target(latents_BCFHW, noise_BCFHW, timesteps_B)
    return (predicted - target).square().mean()


def first_timestep(backbone: Backbone, noise_from: float) -> int:
    """The least noisy timestep of the share `noise_from` in [0, 1) and up."""
    return min(round(noise_from * backbone.num_train_timesteps), backbone.num_train_timesteps - 1)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Randomness of one training step, from the seed and the step's number alone: a resumed run draws the same."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def seeded_noise(shape: tuple[int, ...], seed: int, device: str) -> Tensor:
    """Initial noise that the seed alone decides, drawn on the CPU so that every device gives the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def guided(backbone: Backbone, positive: Tensor, negative: Tensor, guidance_scale: float) -> Predict:
    """Classifier-free guidance (Ho & Salimans 2022), both halves in one batch; at scale 1 the positive alone."""

    def predict(latents_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        if guidance_scale == 1:
            return backbone.predict(latents_BCFHW, timesteps_B, positive)
        both = backbone.predict(
            torch.cat([latents_BCFHW, latents_BCFHW]), timesteps_B.repeat(2), torch.cat([negative, positive])
        )
        without, with_text = both.chunk(2)
        return without + guidance_scale * (with_text - without)

    return predict
