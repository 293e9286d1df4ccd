"""The diffusion process of models that are sampled with DDIM. Shapes: B batch, F frames, C channels, H W of latents."""

from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler
from torch import Tensor

from cavtool.core.backbones.parts.loading import explain_load_errors, quiet


def load_scheduler(folder: Path) -> DDIMScheduler:
    """A fresh DDIM scheduler with the model's settings. Raises IntegrityFailure if they cannot be read."""
    with explain_load_errors(folder), quiet():
        return DDIMScheduler.from_pretrained(folder)


def training_target(scheduler: Any, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
    """The noise, or v (Salimans & Ho 2022) if the scheduler's settings say that the model predicts v."""
    if scheduler.config.prediction_type == "v_prediction":
        velocity: Tensor = scheduler.get_velocity(latents_BCFHW, noise_BCFHW, timesteps_B)
        return velocity
    return noise_BCFHW
