"""The device and compute precision to use, from the user's settings and the machine's abilities."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cavtool.errors import InvalidInput, RequirementError


def resolve_device(requested: str) -> str:
    """`auto` is CUDA, then MPS, then the CPU.

    Raises InvalidInput for an unknown kind of device, RequirementError for one that torch cannot use here.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if requested == "auto":
        return next(name for name, available in has.items() if available)
    kind = requested.partition(":")[0]
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", requested):
        raise InvalidInput(f"no device `{requested}`", hint=f"use one of auto, {', '.join(has)}, or cuda:1")
    if not has[kind] or (kind == "cuda" and not _has_cuda(requested)):
        raise RequirementError(
            f"this machine has no `{requested}` device for torch", hint="`--device auto` chooses an available one"
        )
    return requested


def best_device() -> str:
    """The device that `auto` chooses on this machine, for display: `cpu, 2 threads`, `cuda, NVIDIA H100`."""
    device = resolve_device("auto")
    return f"{device}, {torch.cuda.get_device_name() if device == 'cuda' else f'{torch.get_num_threads()} threads'}"


def _has_cuda(requested: str) -> bool:
    index = requested.partition(":")[2]
    return not index or int(index) < torch.cuda.device_count()


def resolve_dtype(requested: str, device: str, *, training: bool) -> torch.dtype:
    """`auto` is bf16 on accelerators and for training on CPUs with bf16 instructions, otherwise fp32."""
    if requested != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[requested]
    if device != "cpu":
        return torch.bfloat16
    return torch.bfloat16 if training and _cpu_is_fast_at_bf16() else torch.float32


def _cpu_is_fast_at_bf16() -> bool:
    capable = torch.backends.cpu.get_cpu_capability() in {"AVX512", "SVE256"}
    return capable and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


@contextmanager
def explain_oom() -> Iterator[None]:
    """Turn torch's errors about a lack of memory into a RequirementError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        is_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not is_memory and "can't allocate memory" not in str(error):  # the CPU allocator's message
            raise
        hint = "close other programs, learn with `--batch-size 1`, or choose another `--device`"
        raise RequirementError("out of memory", hint=hint) from error
