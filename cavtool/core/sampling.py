"""The one sampling loop, for generation, editing and inversion alike. Shapes: B batch, F frames, C channels, H W."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor], Tensor]  # noisy latents (B, C, F, H, W) and timesteps (B,) to the prediction


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
    """Step latents through the scheduler's timesteps with indices `start` to `stop` and return them.

    The caller has called `scheduler.set_timesteps` and scaled the latents by `scheduler.init_noise_sigma`. The loop
    knows no adapters: to use different ones for some of the steps, call it once per segment. `on_step` receives the
    number of steps done.
    """
    timesteps = scheduler.timesteps[start:stop]
    if getattr(scheduler, "step_index", start) is None:  # or it looks for the first timestep, which need not be unique
        scheduler.set_begin_index(start)
    for i, t in enumerate(timesteps, start):
        scaled = scheduler.scale_model_input(latents_BCFHW, t)
        prediction = predict(scaled, t.expand(len(scaled)).to(scaled.device))
        latents_BCFHW = scheduler.step(prediction, t, latents_BCFHW).prev_sample
        on_step(i + 1)
    return latents_BCFHW
