"""The choice of memory options, from the estimate and the free memory, before a model is opened."""

from dataclasses import replace

import torch
from accelerate.utils import gather_object

from cavtool.core.devices import free_memory
from cavtool.models import Model
from cavtool.models.plan import Task, required
from cavtool.recipes import MemoryOptions
from cavtool.system import processes


def choose(
    model: Model, task: Task, memory: MemoryOptions, *, device: str, dtype: torch.dtype, batch_size: int, rank: int
) -> tuple[tuple[MemoryOptions, ...], bool]:
    """The options to begin with, the first that fit into the free memory, then those to try if it runs out.

    Also returns whether the VAE and the text encoder fit too. On devices whose free memory is unknown, such as the CPU,
    the first are those that save nothing.
    """
    if task == "generate":
        memory = replace(memory, gradient_accumulation_steps=1, gradient_checkpointing=False)
    candidates = list(memory.candidates(batch_size, can_offload=device != "cpu"))
    free = _least(free_memory(device))
    if free is None:
        return tuple(candidates), True

    def fits(candidate: MemoryOptions, *, all_parts: bool = False) -> bool:
        width = 4 if dtype == torch.float32 else 2
        return (
            required(model, task, candidate, batch_size=batch_size, rank=rank, width=width, all_parts=all_parts) <= free
        )

    while len(candidates) > 1 and not fits(candidates[0]):
        candidates.pop(0)
    return tuple(candidates), fits(candidates[0], all_parts=True)


def _least(free: int | None) -> int | None:
    """The smallest free memory of all processes, in bytes, so that all make the same choice; None if unknown."""
    return free if free is None or processes.num_processes() == 1 else min(gather_object([free]))
