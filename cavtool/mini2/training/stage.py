"""One loop for everything trained from scratch here: the autoencoder, the text encoder, the denoiser, the judge.

Several processes train one model together if `torchrun` starts them: each takes its own scenes, and they share
gradients. On CPUs, processes of one thread do more than one process of several threads.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from cavtool.core.devices import resolve_dtype
from cavtool.mini2.training.optimizer import Optimizer, average_into, whole

LOG_EVERY, SAVE_EVERY = 50, 100  # steps
_WARM_UP, _COOL_DOWN = 100, 0.2  # steps; share of a stage in which the rate falls to 0


@dataclass
class Stage:
    """A stage in training: `loss_at(draw)` gives the loss of scenes drawn by this number.

    The learning rate is constant after a warm-up and falls to 0 in the last fifth of the stage. The weights that count
    are a moving average over about 1 / (1 - `ema_decay`) steps. Parameters whose `lr_share` is 0 stay as they are.
    """

    name: str
    model: nn.Module
    num_steps: int
    lr: float
    loss_at: Callable[[int], Tensor]
    ema_decay: float = 0.999
    muon: bool = False
    lr_share: Callable[[str], float] = whole

    def train(self, work: Path, deadline: float, *, finish: bool = False) -> bool:
        """Train until done (True) or until the deadline (False), from the last checkpoint; then load the average.

        With `finish`, it is done at the deadline: the learning rate falls to 0 by then, if not before.
        """
        for name, param in self.model.named_parameters():
            param.requires_grad_(self.lr_share(name) > 0)
        params = [param for param in self.model.parameters() if param.requires_grad]
        optimizer = Optimizer(self.model, self.lr, muon=self.muon, lr_share=self.lr_share)
        average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        step = self._load(work, optimizer, average)
        losses: list[Tensor] = []
        began, first = time.monotonic(), step
        time_share = share_gradients([], _time_share(began, deadline))
        while step < self.num_steps and time_share < 1:
            loss = self.loss_at(step * num_processes() + rank())
            loss.backward()  # type: ignore[no-untyped-call]
            time_share = share_gradients(params, _time_share(began, deadline))
            nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step(self._schedule(max(step / self.num_steps, time_share if finish else 0), step - first))
            step += 1
            self._average(average, step)
            losses.append(loss.detach())
            if step % LOG_EVERY == 0 or step == self.num_steps:
                mean, seconds = torch.stack(losses).mean().item(), (time.monotonic() - began) / (step - first)
                log(work, stage=self.name, step=step, loss=round(mean, 5), seconds_per_step=round(seconds, 4))
                losses.clear()
            if step % SAVE_EVERY == 0:
                self._save(work, step, optimizer, average)
        step = self.num_steps if finish and step > first else step
        self._save(work, step, optimizer, average)
        self.model.load_state_dict(average)
        return step >= self.num_steps

    def skip(self, work: Path) -> None:
        """Be done, with the weights that the model has, unless it has been trained in this folder."""
        if not (work / f"{self.name}.pt").exists():
            state = {"step": self.num_steps, "model": self.model.state_dict(), "average": self.model.state_dict()}
            self._write(work, state)

    def _schedule(self, done: float, since_start: int) -> float:
        """The share of the learning rate; it warms up again after every restart."""
        warm_up = min(1.0, (since_start + 1) / _WARM_UP)
        return warm_up * max(0.0, min(1.0, (1 - done) / _COOL_DOWN))

    def _average(self, average: dict[str, Tensor], step: int) -> None:
        values = self.model.state_dict()
        floats = [name for name in average if average[name].is_floating_point()]
        average_into(average, values, floats, min(self.ema_decay, (1 + step) / (10 + step)))

    def _save(self, work: Path, step: int, optimizer: Optimizer, average: dict[str, Tensor]) -> None:
        state = {"step": step, "model": self.model.state_dict(), "average": average, "optim": optimizer.state_dict()}
        self._write(work, state)

    def _write(self, work: Path, state: dict[str, Any]) -> None:
        if rank() > 0:
            return
        torch.save(state, work / f"{self.name}.tmp")
        (work / f"{self.name}.tmp").replace(work / f"{self.name}.pt")

    def _load(self, work: Path, optimizer: Optimizer, average: dict[str, Tensor]) -> int:
        path = work / f"{self.name}.pt"
        if not path.exists():
            return 0
        state = torch.load(path, map_location=next(self.model.parameters()).device, weights_only=True)
        self.model.load_state_dict(state["model"])
        if state["step"] < self.num_steps:
            optimizer.load_state_dict(state["optim"])
        for name, value in state["average"].items():
            average[name].copy_(value)
        return int(state["step"])


def autocast(device: str) -> torch.autocast:
    """Compute in bf16 where that is fast: a CPU without its instructions takes ten times as long as in fp32."""
    dtype = resolve_dtype("auto", device, training=True)
    return torch.autocast(device, dtype, enabled=dtype != torch.float32)


def join_processes() -> None:
    """Meet the other processes, if `torchrun` started this one."""
    if "RANK" in os.environ:
        distributed.init_process_group("gloo", timeout=timedelta(minutes=30))


def _time_share(began: float, deadline: float) -> float:
    """How much of the time is over, 1 at the deadline."""
    now = time.monotonic()
    return 1.0 if now >= deadline else (now - began) / (deadline - began)


def num_processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def share_gradients(params: Sequence[nn.Parameter], time_share: float) -> float:
    """Give all processes the mean of their gradients, and of the share of the time that each thinks is over."""
    if num_processes() == 1:
        return time_share
    gradients = [param.grad for param in params if param.grad is not None]
    device = gradients[0].device if gradients else "cpu"
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), torch.tensor([time_share], device=device)])
    distributed.all_reduce(flat)
    *means, mean_share = torch.split(flat / num_processes(), [*(gradient.numel() for gradient in gradients), 1])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view(gradient.shape))  # whatever its memory format
    return mean_share.item()


def log(work: Path, **event: object) -> None:
    """Append an event to `WORK/log.jsonl` and print it, in the first process."""
    if rank() > 0:
        return
    with (work / "log.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    print(*(f"{key} {value}" for key, value in event.items()), flush=True)  # noqa: T201 a recipe run by hand
