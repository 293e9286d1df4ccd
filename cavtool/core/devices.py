"""Which device and which arithmetic, from what a user asks and what the machine has."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cavtool.errors import InvalidInput, RequirementError


def resolve_device(asked: str) -> str:
    """`auto` is CUDA, then MPS, then the CPU. Raises RequirementError for one this machine lacks."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(name for name, there in has.items() if there)
    kind = asked.partition(":")[0]
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", asked):
        raise InvalidInput(f"no device `{asked}`", hint=f"use one of auto, {', '.join(has)}, or cuda:1")
    if not has[kind] or (kind == "cuda" and not _has_cuda(asked)):
        raise RequirementError(
            f"this machine has no `{asked}` device for torch", hint="`--device auto` takes what is there"
        )
    return asked


def best_device() -> str:
    """What `auto` is here, for people: `cpu, 2 threads`, `cuda, NVIDIA H100`."""
    device = resolve_device("auto")
    return f"{device}, {torch.cuda.get_device_name() if device == 'cuda' else f'{torch.get_num_threads()} threads'}"


def _has_cuda(asked: str) -> bool:
    index = asked.partition(":")[2]
    return not index or int(index) < torch.cuda.device_count()


def resolve_dtype(asked: str, device: str, *, training: bool) -> torch.dtype:
    """`auto` is bf16 on accelerators; on a CPU bf16 to train where it has instructions for it, fp32 to sample."""
    if asked != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[asked]
    if device != "cpu":
        return torch.bfloat16
    return torch.bfloat16 if training and _cpu_is_fast_at_bf16() else torch.float32


def _cpu_is_fast_at_bf16() -> bool:
    capable = torch.backends.cpu.get_cpu_capability() in {"AVX512", "SVE256"}
    return capable and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


@contextmanager
def memory_told() -> Iterator[None]:
    """Raises RequirementError for what torch raises when a device's memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        is_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not is_memory and "can't allocate memory" not in str(error):  # so says the CPU's allocator
            raise
        hint = "close other programs, learn with `--batch-size 1`, or choose another `--device`"
        raise RequirementError("there is not enough memory", hint=hint) from error
