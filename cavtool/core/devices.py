"""The device and compute precision to use, from the user's settings and the machine's abilities."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cavtool.errors import InvalidInput, RequirementError
from cavtool.system import processes


def resolve_device(requested: str) -> str:
    """`auto` is CUDA, then MPS, then the CPU.

    Raises InvalidInput for an unknown kind of device, RequirementError for one that torch cannot use here.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if requested == "auto":
        requested = next(name for name, available in has.items() if available)
    if requested == "cuda" and processes.num_processes() > 1:
        requested = f"cuda:{processes.local_rank()}"
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
    """`auto` is bf16 on accelerators and for training on CPUs with bf16 instructions, fp16 on older GPUs, else fp32.

    Raises InvalidInput for fp16 on the CPU.
    """
    if requested == "fp16" and device == "cpu":
        raise InvalidInput("`--dtype fp16` needs an accelerator", hint="use `--dtype bf16` or fp32")
    if requested != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[requested]
    if device.startswith("cuda") and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    if device != "cpu":
        return torch.bfloat16
    return torch.bfloat16 if training and _cpu_is_fast_at_bf16() else torch.float32


def free_memory(device: str) -> int | None:
    """Bytes that this process may still allocate on a GPU, within torch's limit for it; None for other devices."""
    if not device.startswith("cuda"):
        return None
    free, total = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    share = torch.cuda.get_per_process_memory_fraction(device) * total - torch.cuda.memory_allocated(device)
    return int(min(free + unused, share))


def free_unused() -> None:
    """Give memory that nothing refers to any more back to the system and the accelerator."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _cpu_is_fast_at_bf16() -> bool:
    capable = torch.backends.cpu.get_cpu_capability() in {"AVX512", "SVE256"}
    return capable and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python is about a lack of memory."""
    on_cpu = "can't allocate memory"
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or on_cpu in str(error)


@contextmanager
def explain_oom(hint: str = "close other programs, try `--offload`, or choose another `--device`") -> Iterator[None]:
    """Turn errors about a lack of memory into a RequirementError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RequirementError("out of memory", hint=hint) from error
