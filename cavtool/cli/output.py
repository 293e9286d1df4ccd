"""What a command says and where: data on stdout, all else on stderr, JSON with `--json`."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import typer

from cavtool.cli.progress import Bars, Lines
from cavtool.errors import CavError, InvalidInput
from cavtool.events import Event, Interrupted, Note, Stage, Step, Warn, to_json

SCHEMA = 1


class Stopped(CavError):  # noqa: N818 - named as its siblings are
    """The user pressed Ctrl-C."""

    code = "interrupted"
    exit_code = 130


class Output:
    """One command's voice, and the boundary where an error becomes two lines and an exit code.

    `with Output("rm", json=...) as out:` around a command's body. CAV_DEBUG=1 lets errors through, for a traceback.
    """

    def __init__(self, command: str, *, json: bool, quiet: bool = False) -> None:
        self.command = command
        self.json = json
        self.quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        told = _told(error)
        if told and os.environ.get("CAV_DEBUG") != "1":
            self._fail(told)

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[str]], data: Iterable[Mapping[str, Any]]) -> None:
        """Print `rows` of cells under their `columns`; for scripts, `data` as a bare array."""
        if self.json:
            self._print_json(list(data))
            return
        lines = [tuple(columns), *(tuple(_printable(cell, "?") for cell in row) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def result(self, data: Mapping[str, Any], lines: Iterable[object], *, failure: CavError | None = None) -> None:
        """Say what came of it, last of all: `lines` for people, `data` for scripts; then exit, if it failed in part."""
        if not self.json:
            for line in lines:
                typer.echo(_printable(str(line), "?\n\t"))
        if failure:
            self._fail(failure, data)
        if self.json:
            self._print_json(self._envelope(data, None))

    def note(self, text: str) -> None:
        """Say something worth knowing, unless quiet."""
        if not self.quiet:
            _say("note", "cyan", text)

    def warning(self, text: str) -> None:
        """Say something the user may want to change."""
        _say("warning", "yellow", text)

    def hint(self, text: str) -> None:
        """Say what to do next, to people, unless quiet."""
        if not (self.json or self.quiet):
            _say("hint", "green", text)

    def error(self, error: CavError) -> None:
        """Say what went wrong and what to do about it."""
        _say("error", "red", error.message)
        if error.hint and not self.json:
            _say("hint", "green", error.hint)

    def confirm(self, question: str, *, hint: str) -> bool:
        """Ask on the terminal; InvalidInput with `hint` where there is none."""
        if self.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise InvalidInput(f"`cav {self.command}` asks first, and there is no terminal to ask on", hint=hint)
        typer.echo(f"{question} [y/N] ", nl=False, err=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    @contextmanager
    def progress(self) -> Iterator[Callable[[Event], None]]:
        """Receive a workflow's events: bars on a terminal, plain lines elsewhere, NDJSON for scripts.

        Of a quiet one's only the warnings are told.
        """
        if self.json:
            yield lambda event: self._print_json(to_json(event))
            return
        if self.quiet:
            yield lambda event: self.warning(event.text) if isinstance(event, Warn) else None
            return
        with Bars() if sys.stderr.isatty() else Lines() as display:

            def on_event(event: Event) -> None:
                match event:
                    case Stage():
                        display.stage(event)
                    case Step():
                        display.step(event)
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
        told = error and {"code": error.code, "message": error.message, "hint": error.hint}
        return {"schema": SCHEMA, "ok": error is None, "command": self.command, "data": data, "error": told}

    def _print_json(self, data: object) -> None:
        typer.echo(json.dumps(data, default=str))


def _printable(text: str, kept: str) -> str:
    """Text that may be a stranger's without what a terminal would obey; the first of `kept` stands in its place."""
    return "".join(each if each.isprintable() or each in kept[1:] else kept[0] for each in text)


def _told(error: BaseException | None) -> CavError | None:
    """What to tell the user of `error`; None for what only a programmer can read."""
    match error:
        case CavError():
            return error
        case Interrupted():
            return Stopped("interrupted", hint=f"continue with `cav runs resume {error.run_id}`")
        case KeyboardInterrupt():
            return Stopped("interrupted")
        case OSError() if not isinstance(error, BrokenPipeError):  # a full disk, a folder that may not be written
            where = f": `{error.filename}`" if error.filename else ""
            return CavError(f"{error.strerror or error}{where}")
    return None


def _say(label: str, colour: str, text: str) -> None:
    label = f"{label}:"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        label = typer.style(label, fg=colour, bold=True)
    sys.stderr.write(f"{label} {text}\n")  # not typer.echo: that passes by the bars, which must be moved out of the way
