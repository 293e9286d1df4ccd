"""The diffusion process of models that are trained with flow matching (Lipman et al. 2023), the timesteps shifted.

At the noise level n in [0, 1], x_n = (1 - n) x_0 + n ε; the model predicts the velocity ε - x_0, and its timestep is n
times the number of timesteps. Schedules are uniform in a share u, with n = s u / (1 + (s - 1) u) for the shift s of the
model (Esser et al. 2024, section 5.3.2). Shapes: B batch, F frames, C channels, H W of latents.
"""

from pathlib import Path
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from cavtool.core.backbones.parts.loading import class_name, explain_load_errors
from cavtool.errors import Incompatible
from cavtool.recipes.common import MAX_SAMPLING_STEPS


class _FlowMatchEuler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """With the two members that other schedulers have and the sampling loop uses."""

    init_noise_sigma = 1.0

    def scale_model_input(self, sample: Tensor, *_: Any) -> Tensor:
        return sample


# With these settings UniPC takes Euler steps at its own noise levels, those of DDIM for flow matching,
# which do not depend on earlier steps.
_FIRST_ORDER = {"solver_order": 1, "disable_corrector": [*range(MAX_SAMPLING_STEPS)]}
_KINDS = {"UniPCMultistepScheduler": UniPCMultistepScheduler, "FlowMatchEulerDiscreteScheduler": _FlowMatchEuler}


def load_flow_scheduler(folder: Path, shift: float | None = None, *, invertible: bool = False) -> Any:
    """A fresh scheduler with the model's settings, and with another shift unless it is None.

    A step of an `invertible` one depends on no step before it. Raises Incompatible if it is of another class or not for
    flow matching, IntegrityFailure if it cannot be read.
    """
    name = class_name(folder, "scheduler_config.json")
    if name not in _KINDS:
        raise Incompatible(
            f"cannot use the model's `scheduler`: it is a {name}", hint=f"supported: {', '.join(_KINDS)}"
        )
    with explain_load_errors(folder):
        scheduler = _KINDS[name].from_pretrained(folder)
        changes: dict[str, Any] = {} if shift is None else {_shift_key(scheduler): shift}
        if invertible and "solver_order" in scheduler.config:
            changes |= _FIRST_ORDER
        if changes:
            scheduler = _KINDS[name].from_config(scheduler.config, **changes)
    if not scheduler.config.get("use_flow_sigmas", True):
        hint = "its config needs `use_flow_sigmas` and `flow_prediction`, as in Wan's own pipeline folders"
        raise Incompatible("cannot use the model's `scheduler`: it is not for flow matching", hint=hint)
    return scheduler


def noise_level(scheduler: Any, share: Any) -> Any:
    """The noise level at a share of the schedule, from clean (0) to pure noise (1)."""
    shift = scheduler.config[_shift_key(scheduler)]
    return shift * share / (1 + (shift - 1) * share)


def share_of(scheduler: Any, level: float) -> float:
    """The share of the schedule, from 0 to 1, at a noise level: the inverse of `noise_level`."""
    shift = scheduler.config[_shift_key(scheduler)]
    return float(level / (shift - (shift - 1) * level))


def _shift_key(scheduler: Any) -> str:
    return "flow_shift" if "flow_shift" in scheduler.config else "shift"


def add_noise(latents_BCFHW: Tensor, noise_BCFHW: Tensor, noise_level_B: Tensor) -> Tensor:
    """The latents at these noise levels."""
    level = noise_level_B.view(-1, 1, 1, 1, 1)
    return (1 - level) * latents_BCFHW + level * noise_BCFHW


def velocity(latents_BCFHW: Tensor, noise_BCFHW: Tensor) -> Tensor:
    """The value that the model is trained to predict, the same at every noise level."""
    return noise_BCFHW - latents_BCFHW
