"""The optimiser loop of both stages, on an Accelerator. Its complete state is a dict of tensors.

A step's loss depends on the step's number alone, so a run that is stopped at any step and resumed ends with the same
weights.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cavtool.core.distributed import average, new_accelerator, raise_together
from cavtool.errors import TrainingError

_MOMENTS = ("exp_avg", "exp_avg_sq")
_UPDATES = "num_updates"
_MAX_SKIPPED = 20  # updates in a row; fp16 begins with a loss scale that a few of them have to halve


@dataclass
class Trainer:
    """AdamW over `params` on `loss_at(step)`, for `num_steps` steps; warm-up over the first twentieth.

    If `loss_at` yields the losses of `num_parts` parts of the batch, the gradients of their mean are accumulated. In
    several processes, each has other parts. The default accelerator is for the parameters' device, in fp32.
    `averages` are the parameters averaged over the last steps, which depend less on the noise of the last few: an
    exponential moving average over about 1 / (1 - `decay`) of them, fewer at the beginning.
    """

    params: Mapping[str, nn.Parameter]
    loss_at: Callable[[int], Tensor | Iterable[Tensor]]
    num_steps: int
    lr: float
    weight_decay: float = 1e-2
    step: int = 0
    accelerator: Accelerator | None = None
    num_parts: int = 1
    decay: float = 0.97
    averages: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        device = next(iter(self.params.values())).device
        self._accelerator = self.accelerator or new_accelerator(str(device), torch.float32)
        self._accelerator.gradient_accumulation_steps = self.num_parts
        adamw = torch.optim.AdamW(self.params.values(), self.lr, weight_decay=self.weight_decay)
        self._optimizer = self._accelerator.prepare(adamw)
        self._num_skipped = 0
        self.averages = {key: param.detach().clone() for key, param in self.params.items()}

    def run(self) -> Iterator[float]:
        """Train to the end; yields each step's loss after its update.

        Raises TrainingError if the loss or its gradient is NaN or infinite, before the parameters are updated, and what
        `loss_at` raises, in all processes.
        """
        while self.step < self.num_steps:
            for group in self._optimizer.param_groups:
                group["lr"] = self.lr * min(1.0, (self.step + 1) / max(1, self.num_steps // 20))
            value = self._backward()
            norm = float(self._accelerator.clip_grad_norm_(list(self.params.values()), 1.0))
            self._num_skipped = 0 if math.isfinite(norm) else self._num_skipped + 1
            for what, number in (("loss", value), ("gradient", norm)):
                if not (math.isfinite(number) or (what == "gradient" and self._is_skipped)):
                    raise TrainingError(
                        f"the {what} became {number} at step {self.step + 1}",
                        hint="a lower learning rate (a half, a tenth) or `--dtype fp32` usually helps",
                    )
            self._optimizer.step()
            self._optimizer.zero_grad()
            self.step += 1
            decay = min(self.decay, self.step / (self.step + 10))
            for key, param in self.params.items():
                self.averages[key].lerp_(param.detach(), 1 - decay)
            yield value

    @property
    def _is_skipped(self) -> bool:
        """Whether an update with an infinite gradient is skipped, because the loss scale of fp16 may be too large."""
        return self._accelerator.scaler is not None and self._num_skipped <= _MAX_SKIPPED

    def _backward(self) -> float:
        """Add up the gradients of this step over all parts and processes; returns the mean loss."""
        loss, error = 0.0, None  # type: float, Exception | None
        try:
            for part in self._parts():
                with self._accelerator.accumulate():
                    loss += part.item() / self.num_parts
                    self._accelerator.backward(part)
        except Exception as raised:  # noqa: BLE001 the other processes wait for this one
            error = raised
        raise_together(error)
        return self._average(loss) if self._accelerator.num_processes > 1 else loss

    def _parts(self) -> Iterator[Tensor]:
        with self._accelerator.autocast():
            losses = self.loss_at(self.step)
        remaining = iter([losses] if isinstance(losses, Tensor) else losses)
        while True:
            with self._accelerator.autocast():
                part = next(remaining, None)
            if part is None:
                return
            yield part

    def _average(self, loss: float) -> float:
        params = list(self.params.values())
        value = torch.tensor([loss], device=params[0].device)
        means = average(self._accelerator, [*(param.grad for param in params), value], [*params, value])
        for param, mean in zip(params, means[:-1], strict=True):
            param.grad = mean
        return 0.0 if means[-1] is None else means[-1].item()

    def state(self) -> dict[str, Tensor]:
        """All that `load` needs: the parameters (`param.*`), their averages, AdamW's moments and the step."""
        state = {f"param.{key}": param.detach().clone() for key, param in self.params.items()}
        state |= {f"average.{key}": average.clone() for key, average in self.averages.items()}
        for key, param in self.params.items():
            moments = self._optimizer.state.get(param, {})
            state |= {f"{moment}.{key}": moments[moment].clone() for moment in _MOMENTS if moment in moments}
            if int(moments.get("step", self.step)) != self.step:  # without a gradient in some steps: one expert of two
                state[f"{_UPDATES}.{key}"] = moments["step"].clone()
        if self._accelerator.scaler is not None:
            state["loss_scale"] = torch.tensor(self._accelerator.scaler.get_scale())
        return state | {"step": torch.tensor(self.step)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state()`. Raises TrainingError if it has other parameters."""
        self.step = int(state.get("step", torch.tensor(-1)))
        if self.step < 0 or any(f"param.{key}" not in state for key in self.params):
            raise TrainingError("the checkpoint does not belong to this run")
        for key, param in self.params.items():
            param.data.copy_(state[f"param.{key}"])
            self.averages[key].copy_(state.get(f"average.{key}", state[f"param.{key}"]))
            if f"{_MOMENTS[0]}.{key}" in state:
                moments = {moment: state[f"{moment}.{key}"].to(param.device) for moment in _MOMENTS}
                updates = state.get(f"{_UPDATES}.{key}", torch.tensor(self.step)).float()
                self._optimizer.state[param] = {"step": updates, **moments}
        if self._accelerator.scaler is not None and "loss_scale" in state:
            self._accelerator.scaler.update(float(state["loss_scale"]))
