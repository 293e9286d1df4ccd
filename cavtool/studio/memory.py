"""Which levers to pull, from the estimate and the free memory, before a model is opened."""

from dataclasses import replace

import torch
from accelerate.utils import gather_object

from cavtool.core.devices import free_memory
from cavtool.models import Model
from cavtool.models.plan import Task, required
from cavtool.recipes import Levers
from cavtool.system import processes


def choose(
    model: Model, task: Task, levers: Levers, *, device: str, dtype: torch.dtype, batch_size: int, rank: int
) -> tuple[tuple[Levers, ...], bool]:
    """The levers to begin with, the first that fit into what is free, and then those to try if memory runs out.

    Also whether the VAE and the text encoder fit in besides. On devices whose free memory is not known, as on the CPU,
    no lever is pulled at first.
    """
    if task == "generate":
        levers = replace(levers, gradient_accumulation_steps=1, gradient_checkpointing=False)
    ladder = list(levers.ladder(batch_size, can_offload=device != "cpu"))
    free = _least(free_memory(device))
    if free is None:
        return tuple(ladder), True

    def fits(rung: Levers, *, all_parts: bool = False) -> bool:
        width = 4 if dtype == torch.float32 else 2
        return required(model, task, rung, batch_size=batch_size, rank=rank, width=width, all_parts=all_parts) <= free

    while len(ladder) > 1 and not fits(ladder[0]):
        ladder.pop(0)
    return tuple(ladder), fits(ladder[0], all_parts=True)


def _least(free: int | None) -> int | None:
    """The least of what is free in any process, so that all decide alike."""
    return free if free is None or processes.num_processes() == 1 else min(gather_object([free]))
