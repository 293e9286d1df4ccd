"""The standard streams and the signals of this process."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from cavtool.errors import RequirementError
from cavtool.system.processes import ending_signals, is_main


class StdoutError(RequirementError):
    """The result cannot be printed."""


def open_closed_streams() -> None:
    """Open standard streams that the caller has closed, on the null device, so that no file gets their descriptors."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


@contextmanager
def prepared_process() -> Iterator[None]:
    """Within the context, libraries are quiet, SIGTERM and SIGHUP raise Terminated, and all text can be printed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # another object in its place
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    with warnings.catch_warnings(), _ending_signals():
        if not (sys.warnoptions or os.environ.get("PYTHONWARNINGS") or os.environ.get("CAV_DEBUG") == "1"):
            warnings.simplefilter("ignore")
        yield


@contextmanager
def _ending_signals() -> Iterator[None]:
    """Within the context the signals that end a process raise Terminated, unless the caller ignores them (nohup)."""
    changed = [number for number in ending_signals() if signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in changed:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _terminate)
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, _frame: FrameType | None) -> None:
    from cavtool.events import Terminated

    raise Terminated(number)


def print_line(text: str) -> None:
    """Print to stdout at once, in the main process only.

    Raises RequirementError if stdout is full, BrokenPipeError if its reader has gone.
    """
    if not is_main():
        return
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(sys.stdout)
        raise StdoutError(f"cannot write to stdout: {error.strerror}", hint="the work itself is done") from error


def print_message(text: str) -> None:
    """Print to stderr, through a live display if there is one, in the main process only.

    A stderr that cannot be written changes nothing.
    """
    if not is_main():
        return
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Redirect the rest of a stream to the null device, so that Python does not report it again when it exits."""
    with suppress(OSError, ValueError):  # not a real file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def flush() -> None:
    """Write what is left of stdout; what cannot be written is dropped."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        silence(sys.stdout)


def has_colours(stream: Any) -> bool:
    """Whether the stream is a terminal that shows colours and is asked to."""
    return is_display(stream) and not os.environ.get("NO_COLOR")


def is_display(stream: Any) -> bool:
    """Whether the stream is a terminal on which lines can be changed."""
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
