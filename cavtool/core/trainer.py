"""The optimiser loop of both stages. Its complete state is a dict of tensors.

A step's loss depends on the step's number alone, so a run that is stopped at any step and resumed ends with the same
weights.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cavtool.errors import TrainingError

_MOMENTS = ("exp_avg", "exp_avg_sq")
_UPDATES = "num_updates"


@dataclass
class Trainer:
    """AdamW over `params` on `loss_at(step)`, for `num_steps` steps; warm-up over the first twentieth."""

    params: Mapping[str, nn.Parameter]
    loss_at: Callable[[int], Tensor]
    num_steps: int
    lr: float
    weight_decay: float = 1e-2
    step: int = 0

    def __post_init__(self) -> None:
        self._optimizer = torch.optim.AdamW(self.params.values(), self.lr, weight_decay=self.weight_decay)

    def run(self) -> Iterator[float]:
        """Train to the end; yields each step's loss after its update.

        Raises TrainingError if the loss or its gradient is NaN or infinite, before the parameters are updated.
        """
        while self.step < self.num_steps:
            for group in self._optimizer.param_groups:
                group["lr"] = self.lr * min(1.0, (self.step + 1) / max(1, self.num_steps // 20))
            loss = self.loss_at(self.step)
            value = loss.item()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.params.values(), 1.0).item()
            for what, number in (("loss", value), ("gradient", norm)):
                if not math.isfinite(number):
                    raise TrainingError(
                        f"the {what} became {number} at step {self.step + 1}",
                        hint="a lower learning rate (a half, a tenth) or `--dtype fp32` usually helps",
                    )
            self._optimizer.step()
            self._optimizer.zero_grad()
            self.step += 1
            yield value

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs: the parameters (`param.*`), AdamW's moments and the step."""
        state = {f"param.{key}": param.detach().clone() for key, param in self.params.items()}
        for key, param in self.params.items():
            moments = self._optimizer.state.get(param, {})
            state |= {f"{moment}.{key}": moments[moment].clone() for moment in _MOMENTS if moment in moments}
            if int(moments.get("step", self.step)) != self.step:  # without a gradient in some steps: one expert of two
                state[f"{_UPDATES}.{key}"] = moments["step"].clone()
        return state | {"step": torch.tensor(self.step)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state()`. Raises TrainingError if it has other parameters."""
        self.step = int(state.get("step", torch.tensor(-1)))
        if self.step < 0 or any(f"param.{key}" not in state for key in self.params):
            raise TrainingError("the checkpoint does not belong to this run")
        for key, param in self.params.items():
            param.data.copy_(state[f"param.{key}"])
            if f"{_MOMENTS[0]}.{key}" in state:
                moments = {moment: state[f"{moment}.{key}"].to(param.device) for moment in _MOMENTS}
                updates = state.get(f"{_UPDATES}.{key}", torch.tensor(self.step)).float()
                self._optimizer.state[param] = {"step": updates, **moments}
