"""The output of a command: results to stdout, messages to stderr; with `--json`, JSON to stdout."""

import math
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import typer

from cavtool.cli.format import printable
from cavtool.cli.streams import StdoutError, flush, has_colours, is_display, print_line, print_message, silence
from cavtool.errors import CavError, InvalidInput, RequirementError
from cavtool.system.processes import is_main

if TYPE_CHECKING:
    from cavtool.events import Event

SCHEMA = 1
_SIGPIPE = 13


class Stopped(CavError):  # noqa: N818 - named like the other errors
    """A signal ended the command: Ctrl-C, SIGTERM or SIGHUP; `number` is its number."""

    code = "interrupted"
    exit_code = 130

    def __init__(self, number: int, *, hint: str | None = None) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "ended by another process", hint=hint)
        self.number = number


class Output:
    """The results and messages of one command; as a context manager, it turns errors into messages and exit codes.

    Of several processes that work together, only the main one prints.
    With CAV_DEBUG=1, errors are not caught, so that Python prints the traceback.
    """

    def __init__(self, command: str, *, json: bool, quiet: bool = False) -> None:
        self.command = command
        self.json = json
        self.quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BrokenPipeError):  # the reader has closed the pipe, as `head` does
            silence(sys.stdout)
            sys.exit(128 + _SIGPIPE)
        failure = _as_cav_error(error)
        if failure and os.environ.get("CAV_DEBUG") != "1":
            self._fail(failure)

    def table(
        self,
        columns: Iterable[str],
        rows: Iterable[Iterable[str]],
        data: Iterable[Mapping[str, Any]],
        *,
        name: int | None = 0,
    ) -> None:
        """Print `rows` of cells under `columns`, or with `--json` an array of `data`.

        With `--quiet`, only the cells of column `name` are printed, unless it is None.
        """
        if self.json:
            self._print_json(list(data))
            return
        lines = [tuple(columns), *(tuple(printable(cell) for cell in row) for row in rows)]
        if self.quiet and name is not None:
            for line in lines[1:]:
                print_line(line[name])
            return
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        print_line("\n".join(padded))  # at once, because each call flushes

    def result(self, data: Mapping[str, Any], lines: Iterable[object], *, failure: CavError | None = None) -> None:
        """Print `lines`, or with `--json` an object with `data`; then exit if there was a partial `failure`."""
        if not self.json:
            for line in lines:
                print_line(printable(str(line), keep="\n\t"))
        if failure:
            self._fail(failure, data)
        if self.json:
            self._print_json(self._envelope(data, None))

    def line(self, data: Mapping[str, Any], text: str) -> None:
        """Print one line of a result that grows, or with `--json` one of NDJSON."""
        if self.json:
            self._print_json(data)
        else:
            print_line(printable(text))

    def note(self, text: str) -> None:
        """Show a message, unless quiet."""
        if not self.quiet:
            _message("note", "cyan", text)

    def warning(self, text: str) -> None:
        """Show a warning."""
        _message("warning", "yellow", text)

    def hint(self, text: str) -> None:
        """Show what to do next, unless quiet or with `--json`."""
        if not (self.json or self.quiet):
            _message("hint", "green", text)

    def error(self, error: CavError) -> None:
        """Show an error and its hint, and continue."""
        _message("error", "red", error.message)
        if error.hint and not self.json:
            _message("hint", "green", error.hint)

    def confirm(self, question: str, *, if_declined: str) -> None:
        """Ask on the terminal; exit with 1 and the note `if_declined` unless the answer is yes.

        Raises InvalidInput if there is no terminal.
        """
        if self.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            message = f"`cav {self.command}` asks for confirmation, which needs a terminal"
            raise InvalidInput(message, hint="add `--yes`")
        sys.stderr.write(f"{printable(question)} [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            self.note(if_declined)
            raise typer.Exit(1)

    @contextmanager
    def progress(self, *, shows_memory: bool = True) -> Iterator[Callable[["Event"], None]]:
        """Receive the events of a workflow: bars on a terminal, plain lines elsewhere, NDJSON with `--json`.

        With `--quiet`, only warnings are shown. `shows_memory` is for work that this process does itself.
        """
        from cavtool.cli.progress import Bars, Lines
        from cavtool.events import Note, Stage, Step, Transfer, Warn, to_json

        if self.json:
            yield lambda event: self._print_json(to_json(event))
            return
        if not is_main():
            yield lambda _: None
            return
        if self.quiet:
            yield lambda event: self.warning(event.text) if isinstance(event, Warn) else None
            return
        display_kind = Bars if is_display(sys.stderr) else Lines
        with display_kind(shows_memory=shows_memory) as display:

            def on_event(event: "Event") -> None:
                match event:
                    case Stage():
                        display.stage(event)
                    case Step():
                        display.step(event)
                    case Transfer():
                        display.transfer(event)
                    case Note():
                        self.note(event.text)
                    case Warn():
                        self.warning(event.text)

            yield on_event

    def _fail(self, error: CavError, data: Mapping[str, Any] | None = None) -> None:
        if self.json and not isinstance(error, StdoutError):
            self._print_failure(error, data)
        else:
            self.error(error)
        flush()
        sys.exit(128 + error.number if isinstance(error, Stopped) else error.exit_code)

    def _print_failure(self, error: CavError, data: Mapping[str, Any] | None) -> None:
        try:
            self._print_json(self._envelope(data, error))
        except (StdoutError, BrokenPipeError):
            _message("error", "red", error.message)

    def _envelope(self, data: Mapping[str, Any] | None, error: CavError | None) -> dict[str, object]:
        described = error and {"code": error.code, "message": error.message, "hint": error.hint}
        return {"schema": SCHEMA, "ok": error is None, "command": self.command, "data": data, "error": described}

    def _print_json(self, data: object) -> None:
        import json

        try:
            text = json.dumps(data, default=str, allow_nan=False)
        except ValueError:  # NaN and infinity are not JSON
            text = json.dumps(_without_nan(data), default=str)
        print_line(text)


def _without_nan(data: object) -> object:
    """The data with null in place of every number that is not finite."""
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, Mapping):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return data


def _as_cav_error(error: BaseException | None) -> CavError | None:
    """The error to show to the user; None for a bug, which is raised with its traceback."""
    match error:
        case CavError():
            return error
        case KeyboardInterrupt():
            from cavtool.events import Interrupted, Terminated

            hint = f"continue with `cav runs resume {error.run_id}`" if isinstance(error, Interrupted) else None
            return Stopped(error.number if isinstance(error, Terminated) else signal.SIGINT, hint=hint)
        case OSError() if not isinstance(error, BrokenPipeError):  # for example a full disk or a read-only folder
            return _as_disk_error(error)
    return None


def _as_disk_error(error: OSError) -> CavError:
    from cavtool.system.files import NOT_WRITABLE, unwritable

    if error.errno in NOT_WRITABLE:
        return unwritable(Path(str(error.filename or "stdout")), error)
    if isinstance(error, FileNotFoundError) and not error.filename:  # of all calls, only `getcwd` names no file
        return RequirementError("the current folder has been deleted", hint="go to another one: `cd ~`")
    file = f": `{error.filename}`" if error.filename else ""
    return CavError(f"{error.strerror or error}{file}")


def _message(label: str, colour: str, text: str) -> None:
    label = f"{label}:"
    if has_colours(sys.stderr):
        label = typer.style(label, fg=colour, bold=True)
    print_message(f"{label} {printable(text)}")  # typer.echo would bypass the live display, which then overwrites it
