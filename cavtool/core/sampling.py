"""The one sampling loop, for generation, editing and inversion alike. Shapes: B batch, F frames, C channels, H W."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cavtool.core.diffusion import Predict


@torch.inference_mode()
def sample(
    predict: Predict,
    scheduler: Any,
    latents_BCFHW: Tensor,
    *,
    start: int = 0,
    stop: int | None = None,
    on_step: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Step latents through the scheduler's timesteps `start` to `stop` and return them.

    `scheduler.set_timesteps` has been called, and latents are scaled by its `init_noise_sigma`. Knows no adapters:
    whoever wants others for some of the steps calls this once a segment.
    """
    timesteps = scheduler.timesteps[start:stop]
    for i, t in enumerate(timesteps, start):
        scaled = scheduler.scale_model_input(latents_BCFHW, t)
        prediction = predict(scaled, t.expand(len(scaled)).to(scaled.device))
        latents_BCFHW = scheduler.step(prediction, t, latents_BCFHW).prev_sample
        on_step(i + 1)
    return latents_BCFHW
