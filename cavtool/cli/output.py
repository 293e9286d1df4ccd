"""The output of a command: results to stdout, messages to stderr; with `--json`, JSON to stdout."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import typer

from cavtool.errors import CavError, InvalidInput
from cavtool.system.processes import is_main

if TYPE_CHECKING:
    from cavtool.events import Event

SCHEMA = 1


class Stopped(CavError):  # noqa: N818 - named like the other errors
    """The user pressed Ctrl-C."""

    code = "interrupted"
    exit_code = 130


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
        failure = _as_cav_error(error)
        if failure and os.environ.get("CAV_DEBUG") != "1":
            self._fail(failure)

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[str]], data: Iterable[Mapping[str, Any]]) -> None:
        """Print `rows` of cells under `columns`, or with `--json` an array of `data`."""
        if self.json:
            self._print_json(list(data))
            return
        lines = [tuple(columns), *(tuple(_printable(cell) for cell in row) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        _print("\n".join(padded))  # at once, because each call flushes

    def result(self, data: Mapping[str, Any], lines: Iterable[object], *, failure: CavError | None = None) -> None:
        """Print `lines`, or with `--json` an object with `data`; then exit if there was a partial `failure`."""
        if not self.json:
            for line in lines:
                _print(_printable(str(line), keep="\n\t"))
        if failure:
            self._fail(failure, data)
        if self.json:
            self._print_json(self._envelope(data, None))

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
        typer.echo(f"{question} [y/N] ", nl=False, err=True)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            self.note(if_declined)
            raise typer.Exit(1)

    @contextmanager
    def progress(self) -> Iterator[Callable[["Event"], None]]:
        """Receive the events of a workflow: bars on a terminal, plain lines elsewhere, NDJSON with `--json`.

        With `--quiet`, only warnings are shown.
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
        with Bars() if sys.stderr.isatty() else Lines() as display:

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
        if self.json:
            self._print_json(self._envelope(data, error))
        else:
            self.error(error)
        sys.exit(error.exit_code)

    def _envelope(self, data: Mapping[str, Any] | None, error: CavError | None) -> dict[str, object]:
        described = error and {"code": error.code, "message": error.message, "hint": error.hint}
        return {"schema": SCHEMA, "ok": error is None, "command": self.command, "data": data, "error": described}

    def _print_json(self, data: object) -> None:
        import json

        _print(json.dumps(data, default=str))


def _printable(text: str, keep: str = "") -> str:
    """Untrusted text with `?` in place of control characters, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)


def _as_cav_error(error: BaseException | None) -> CavError | None:
    """The error to show to the user; None for a bug, which is raised with its traceback."""
    match error:
        case CavError():
            return error
        case KeyboardInterrupt():
            from cavtool.events import Interrupted

            hint = f"continue with `cav runs resume {error.run_id}`" if isinstance(error, Interrupted) else None
            return Stopped("interrupted", hint=hint)
        case OSError() if not isinstance(error, BrokenPipeError):  # for example a full disk or a read-only folder
            file = f": `{error.filename}`" if error.filename else ""
            return CavError(f"{error.strerror or error}{file}")
    return None


def _print(text: str) -> None:
    if is_main():
        typer.echo(text)


def _message(label: str, colour: str, text: str) -> None:
    if not is_main():
        return
    label = f"{label}:"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        label = typer.style(label, fg=colour, bold=True)
    text = _printable(text, keep="\n\t")
    sys.stderr.write(f"{label} {text}\n")  # typer.echo would bypass the live display, which then overwrites the line
