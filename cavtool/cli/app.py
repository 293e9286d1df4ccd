"""The `cav` program: its commands, and the errors of a command line that cannot be parsed."""

import os
import re
import shlex
import sys
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from cavtool._version import __version__
from cavtool.cli.command import FastGroup, new_app
from cavtool.cli.output import Output
from cavtool.cli.streams import prepared_process
from cavtool.errors import CavError, InvalidInput, closest
from cavtool.system.processes import is_main
from cavtool.workspace import Workspace


class Entry(NamedTuple):
    """A command in `cav --help`: its module in `cli.commands`, and the first line of its help."""

    module: str
    summary: str


# In the order of the help. Showing it imports none of the modules.
COMMANDS = {
    "learn": Entry("learn", "Learn a motion from one video."),
    "absorb": Entry("absorb", "Learn an appearance from videos or pictures."),
    "generate": Entry("generate", "Generate videos from a prompt, with learned motions."),
    "mix": Entry("mix", "Save a weighted combination of motions as one motion."),
    "eval": Entry("eval_", "Measure how closely videos follow the motion of a reference, and how they look."),
    "edit": Entry("edit", "Change what a video shows, with a prompt and learned motions."),
    "history": Entry("history", "List generated and edited videos, make one of them again, or forget them."),
    "list": Entry("list_", "List motions and absorbers."),
    "show": Entry("show", "Show what a motion or absorber is, and how it was made."),
    "rm": Entry("rm", "Move motions and absorbers to the trash."),
    "cp": Entry("cp", "Copy a motion or absorber."),
    "mv": Entry("mv", "Rename a motion or absorber."),
    "tag": Entry("tag", "Show, add or remove the tags of motions and absorbers."),
    "note": Entry("note", "Show or set the note of a motion or absorber."),
    "trash": Entry("trash", "List, restore or delete removed motions and absorbers."),
    "export": Entry("export", "Write motions and absorbers to files, to share them or to use them in other tools."),
    "import": Entry("import_", "Import motions and absorbers that `cav export` wrote, or LoRAs of other tools."),
    "verify": Entry("verify", "Compare the files of motions and absorbers with their checksums."),
    "prune": Entry("prune", "Find and delete stale runs, partial files and unused absorbers."),
    "path": Entry("path", "Print the folder of the registry, or of a motion or absorber."),
    "runs": Entry("runs", "List, watch, stop, resume or delete training runs."),
    "models": Entry("models", "List, download, add or remove base models."),
    "config": Entry("config", "Show and change settings."),
    "doctor": Entry("doctor", "Check this machine: ffmpeg, torch, memory, models."),
    "completion": Entry("completion", "Print the completion script of a shell."),
    "demo": Entry("demo", "Learn two motions, mix them, apply the mix to a new subject, and edit a video."),
}
_WITH_PROMPT = {"cav generate", "cav edit"}
_TOGETHER = {"absorb", "learn", "runs"}  # commands that several processes run together; of others, the main one does
_CONFIGURABLE = {"absorb", "edit", "generate", "learn"}  # commands whose defaults can be set


class CavGroup(FastGroup):
    """The commands of `cav`, each imported when it is called."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; `version` is `--version`."""
        return super().parse_args(ctx, ["--version"] if args == ["version"] else args)

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command `cmd_name`. Raises InvalidInput; returns None instead while a shell completes a line."""
        if cmd_name in COMMANDS:
            return get_command(import_module(f"cavtool.cli.commands.{COMMANDS[cmd_name].module}").app)
        if ctx.resilient_parsing:
            return None
        raise InvalidInput(f"no such command `{cmd_name}`", hint=closest(cmd_name, COMMANDS, "see `cav --help`"))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command to run, and take its defaults from the user's settings."""
        name, found, rest = super().resolve_command(ctx, args)
        if not is_main() and name not in _TOGETHER:
            raise typer.Exit
        if name in _CONFIGURABLE and not ctx.resilient_parsing and not {"--help", "-h"} & set(rest):
            ctx.default_map = {name: Workspace().settings.option_defaults(name)}
        return name, found, rest

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


app = new_app(
    "Learn a motion from one video and apply it to new subjects.\n\nStart with `cav demo`.",
    cls=CavGroup,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _cav(
    ctx: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"cav {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> NoReturn:
    """Run `cav` on the arguments of this process, and exit.

    The exit code is 0, that of the error, 2 for a usage error, or 128 plus the number of a signal. Shells that complete
    a line call `cav` with the variable _CAV_COMPLETE.
    """
    if "_CAV_COMPLETE" in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    with Output("cav", json="--json" in sys.argv), prepared_process():
        if any("\ud800" <= letter <= "\udfff" for argument in sys.argv for letter in argument):
            raise InvalidInput("the command line is not valid UTF-8", hint="give names and prompts in UTF-8")
        try:
            code = app(prog_name="cav", standalone_mode=False)
        except TyperException as error:
            raise _usage_error(error) from error
        sys.stdout.flush()
    sys.exit(code)


def _usage_error(error: TyperException) -> CavError:
    """Typer's error as a CavError: names in backticks, no capital, no period."""
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    hint = f"see `{context.command_path if context else 'cav'} --help`"
    if hasattr(error, "possibilities"):  # only the error of an unknown option has them
        return InvalidInput(f"no such option `{option}`", hint=_hint_on_option(str(option), error, hint))
    text = error.format_message().replace("Value error, ", "").replace("Input should be", "must be")
    text = re.sub(r"'([^']+)'", r"`\1`", text).rstrip(".")
    text, _, similar = text.partition(". Did you mean ")
    hint = f"did you mean {similar}" if similar else hint
    return InvalidInput(re.sub(r"(?:^|(?<=: ))[A-Z]", lambda capital: capital[0].lower(), text), hint=hint)


def _hint_on_option(option: str, error: Any, otherwise: str) -> str:
    """The closest option, or for a prompt that begins with `-`, how to write it."""
    command = error.ctx.command_path if error.ctx else "cav"
    given = next((arg for arg in sys.argv[1:] if arg.startswith(option)), option)
    if " " in given or (command in _WITH_PROMPT and not error.possibilities):
        return f"if it is a prompt, write `--` before it: `{command} … -- {shlex.quote(given)}`"
    return closest(option, error.possibilities or (), otherwise)
