"""Retries with one more memory option when memory runs out."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from cavtool.core.devices import is_out_of_memory
from cavtool.errors import RequirementError
from cavtool.events import Note, OnEvent
from cavtool.recipes import Quantize
from cavtool.studio.session import Session

_T = TypeVar("_T")


def retrying(
    session: Session, attempt: Callable[[Session], _T], on_event: OnEvent, *, run: str = ""
) -> tuple[Session, _T]:
    """Whenever memory runs out, try again with one more option, and say so in a note.

    Returns the session whose options sufficed, and what `attempt` returned.

    Raises RequirementError, with a hint that names `run`, if there is nothing left that `cav` may choose.
    """
    while True:
        done, result = _once(session, attempt, run)
        if done:
            return session, result  # type: ignore[return-value]
        session = session.with_next_options()
        on_event(Note(f"out of memory: trying again with {_quoted(session.memory.options)}"))


def _once(session: Session, attempt: Callable[[Session], _T], run: str) -> tuple[bool, _T | None]:
    """Whether memory sufficed, and the result. The tensors that the error refers to are freed when this returns."""
    try:
        return True, attempt(session)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(session.candidates) == 1:
            raise RequirementError("out of memory", hint=_hint(session, run)) from error
    return False, None


def _hint(session: Session, run: str) -> str:
    """What the user can still try."""
    memory, untried = session.memory, []
    if session.is_training and not memory.gradient_checkpointing:
        untried.append("--gradient-checkpointing")
    if not memory.offload and memory.quantize is Quantize.NONE and session.backbone.device != "cpu":
        untried += ["--offload", "--quantize 8bit"]
    if not session.is_training and not memory.vae_tiling:
        untried.append("--vae-tiling")
    command = f"`cav runs resume {run}`" if run else ""
    if untried:
        return f"try {_quoted(untried, ' or ')}" + (f" with {command}" if command else "")
    return f"close other programs{f', then {command}' if command else ''}, or use a smaller model"


def _quoted(options: Sequence[str], between: str = " ") -> str:
    return between.join(f"`{option}`" for option in options)
