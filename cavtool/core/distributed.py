"""Training on `accelerate`, in one process or in several that `accelerate launch` or `torchrun` started.

The batch of a step is always drawn whole, from the seed and the number of the step. Each process takes its share of it,
in one or several parts one after the other (gradient accumulation), so that neither changes the result beyond rounding.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor

from cavtool.core.devices import is_out_of_memory
from cavtool.errors import InvalidInput, TrainingError
from cavtool.events import OnEvent
from cavtool.system import processes

_T = TypeVar("_T")
_TIMEOUT = timedelta(hours=6)  # for the main process, which samples and saves while the others wait
_PRECISION = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


def new_accelerator(device: str, dtype: torch.dtype) -> Accelerator:
    """An Accelerator for this device, in this mixed precision. The one before it, if any, can no longer be used."""
    AcceleratorState._reset_state(reset_partial_state=processes.num_processes() == 1)  # noqa: SLF001 no public way
    connect(device)
    accelerator = Accelerator(mixed_precision=_PRECISION[dtype], cpu=device == "cpu")
    accelerator.gradient_accumulation_steps = 1  # `accelerate launch` may have set another default
    return accelerator


def connect(device: str) -> None:
    """Connect the processes, unless they are already; needed before `from_main`."""
    if PartialState._shared_state:  # noqa: SLF001 the check of accelerate itself
        return
    state = PartialState(cpu=device == "cpu", **InitProcessGroupKwargs(timeout=_TIMEOUT).to_kwargs())
    if not state.use_distributed:
        state.device = torch.device(device)


@dataclass(frozen=True)
class Share:
    """The `index`-th of `count` nearly equal parts of a batch."""

    index: int = 0
    count: int = 1

    def rows(self, num_rows: int) -> slice:
        """The rows of the batch that are in it."""
        return slice(num_rows * self.index // self.count, num_rows * (self.index + 1) // self.count)

    def weight(self, num_rows: int) -> float:
        """The factor for its mean loss, so that the mean over all shares equals the mean over all rows."""
        return len(range(num_rows)[self.rows(num_rows)]) * self.count / num_rows


WHOLE = Share()


class StepLoss(Protocol):
    """The loss of a step on its whole batch, or on a share of it times the weight of the share."""

    def __call__(self, step: int, share: Share = WHOLE) -> Tensor:
        """Compute the loss, a scalar."""


def shares_of(batch_size: int, num_parts: int = 1) -> list[Share]:
    """The shares of this process in a batch, at most `num_parts`. Raises InvalidInput for too many processes."""
    count = processes.num_processes()
    if batch_size < count:
        message = f"a batch of {batch_size} cannot be shared by {count} processes"
        raise InvalidInput(message, hint=f"use `--batch-size {count}`, or fewer processes")
    num_parts = min(num_parts, batch_size // count)
    first = (PartialState().process_index if count > 1 else 0) * num_parts
    return [Share(first + part, count * num_parts) for part in range(num_parts)]


def in_shares(loss_at: StepLoss, shares: Sequence[Share]) -> Callable[[int], Iterator[Tensor]]:
    """The losses of a step on these shares, each computed when it is asked for."""
    return lambda step: (loss_at(step, share) for share in shares)


def from_main(make: Callable[[], _T]) -> _T:
    """What `make` returns in the main process, in all of them; what it raises there, all of them raise."""
    if processes.num_processes() == 1:
        return make()
    outcome: list[Any] = [None, None]
    if processes.is_main():
        try:
            outcome = [make(), None]
        except BaseException as error:
            broadcast_object_list([None, _portable(error)])
            raise
    made, failure = broadcast_object_list(outcome)
    if failure is not None:
        raise failure
    return made  # type: ignore[no-any-return]


def in_main(on_event: OnEvent) -> OnEvent:
    """The callback in the main process; in the others, one that does nothing."""
    return on_event if processes.is_main() else lambda _: None


def any_process(value: bool) -> bool:  # noqa: FBT001
    """Whether it is true in any process."""
    return value if processes.num_processes() == 1 else any(gather_object([value]))


def average(accelerator: Accelerator, tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
    """The means of tensors over all processes, in one message; None counts as 0, and stays if it is None in all.

    `like` gives the shapes.
    """
    given = [torch.zeros_like(usual) if tensor is None else tensor for tensor, usual in zip(tensors, like, strict=True)]
    are_there = torch.tensor([float(tensor is not None) for tensor in tensors], device=like[0].device)
    sent = accelerator.reduce(torch.cat([are_there, *(tensor.flatten() for tensor in given)]), "mean")
    parts = sent.split([len(given), *(tensor.numel() for tensor in given)])
    return [
        part.view_as(usual) if there > 0 else None
        for there, part, usual in zip(parts[0].tolist(), parts[1:], like, strict=True)
    ]


def raise_together(error: Exception | None) -> None:
    """Raise the error that this process or, if it has none, another one met; all call this at the same point.

    If any ran out of memory, all raise torch.OutOfMemoryError, so that all handle it alike.
    """
    if processes.num_processes() == 1:
        if error is not None:
            raise error
        return
    met: list[tuple[int, bool, str] | None] = gather_object(
        [None if error is None else (PartialState().process_index, is_out_of_memory(error), str(error))]
    )
    failures = [each for each in met if each is not None]
    if any(out_of_memory for _, out_of_memory, _ in failures):
        raise torch.OutOfMemoryError(failures[0][2]) from error
    if error is not None:
        raise error
    if failures:
        raise TrainingError(f"process {failures[0][0]} failed: {failures[0][2]}")


def _portable(error: BaseException) -> BaseException:
    """The error, or one of the same meaning that can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 made here
    except Exception:  # noqa: BLE001 an error may hold anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
