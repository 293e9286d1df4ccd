"""From the latents of a clip to the noise that sampling turns into them. Shapes: B batch, F frames, C channels, H W."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from cavtool.core.sampling import Predict
from cavtool.errors import InvalidInput

_TOLERANCE = 0.003  # standard deviations
_ZERO = 1e-6
_SMALL = 0.01  # a scheduler that clips the predicted latents leaves such a small one as it is


@torch.inference_mode()
def invert(
    predict: Predict,
    scheduler: Any,
    latents_BCFHW: Tensor,
    *,
    start: int = 0,
    max_iterations: int = 5,
    on_step: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """The noisy latents from which `sample`, started at the step with index `start`, returns to these latents.

    A sampling step is x_s = A x_t + B p(x_t, t) with the prediction p, so each is undone by the x_t that satisfies
    x_t = (x_s - B p(x_t, t)) / A, found by fixed-point iteration from x_t = x_s (Pan et al. 2023, "AIDI", arXiv
    2309.04907; Garibi et al. 2024, "ReNoise", arXiv 2403.14602), until the latents change by less than 0.3 % of
    their standard deviation. With one iteration this is DDIM inversion (Song et al. 2021, section 4.3); at 50 steps two
    are usual.

    A and B come from the scheduler that samples, an invertible one of the backbone: DDIM, or Euler steps for flow
    matching. `DDIMInverseScheduler` of diffusers takes a prediction of v as if it had been made at the noise level of
    x_s instead of x_t, an error of one step. `on_step` gets the number of steps done.

    Raises InvalidInput if a step forgets x_t (A = 0), as one from pure noise to the video does.
    """
    num_steps = len(scheduler.timesteps)
    for done, index in enumerate(reversed(range(start, num_steps)), 1):
        t = scheduler.timesteps[index]
        A, B = _coefficients(scheduler, index)
        if abs(A) < _ZERO:
            message = "one sampling step cannot be inverted: it forgets the noise from which it starts"
            raise InvalidInput(message, hint="take more `--steps`, or `--start noise`")
        noisier_BCFHW = latents_BCFHW
        for _ in range(max_iterations):
            scaled = scheduler.scale_model_input(noisier_BCFHW, t)
            prediction = predict(scaled, t.expand(len(scaled)).to(scaled.device))
            before_BCFHW, noisier_BCFHW = noisier_BCFHW, (latents_BCFHW - B * prediction) / A
            if (noisier_BCFHW - before_BCFHW).abs().mean() < _TOLERANCE * noisier_BCFHW.std():
                break
        latents_BCFHW = noisier_BCFHW
        on_step(done)
    return latents_BCFHW


def _coefficients(scheduler: Any, index: int) -> tuple[float, float]:
    """A and B of the sampling step with this index, which is x_s = A x_t + B p."""
    zero, small = torch.zeros((), dtype=torch.float64), torch.tensor(_SMALL, dtype=torch.float64)

    def stepped(prediction: Tensor, sample: Tensor) -> float:
        fresh = deepcopy(scheduler)
        if hasattr(fresh, "step_index"):  # or it looks for the first timestep, which need not be unique
            fresh.set_begin_index(index)
        return float(fresh.step(prediction, scheduler.timesteps[index], sample).prev_sample)

    return stepped(zero, small) / _SMALL, stepped(small, zero) / _SMALL
