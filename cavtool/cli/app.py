"""The `cav` program: which commands there are, and what happens to a command line nobody can read."""

import os
import re
import sys
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_group

from cavtool._version import __version__
from cavtool.cli.output import Output
from cavtool.errors import CavError, InvalidInput, closest
from cavtool.workspace import Workspace

# Command and the module it lives in, in the order of the help.
COMMANDS = {
    "learn": "learn",
    "generate": "generate",
    "history": "history",
    "list": "assets",
    "show": "assets",
    "rm": "assets",
    "cp": "change",
    "mv": "change",
    "tag": "change",
    "note": "change",
    "trash": "trash",
    "export": "bundles",
    "import": "bundles",
    "verify": "upkeep",
    "prune": "upkeep",
    "path": "upkeep",
    "runs": "runs",
    "config": "config",
    "doctor": "doctor",
    "completion": "completion",
    "demo": "demo",
}


class CavGroup(TyperGroup):
    """A group whose commands are imported when they are called or described, so that the others cost no start-up."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return every command's name."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command `cmd_name`."""
        if cmd_name in COMMANDS:
            return _lean(get_group(import_module(f"cavtool.cli.commands.{COMMANDS[cmd_name]}").app).commands[cmd_name])
        if ctx.resilient_parsing:  # the shell is completing a line that is wrong so far
            return None
        raise InvalidInput(f"no such command `{cmd_name}`", hint=closest(cmd_name, COMMANDS, "see `cav --help`"))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command to run; the user's settings become its defaults."""
        name, command, rest = super().resolve_command(ctx, args)
        defaults: dict[str, Any] = {verb: {"help": False} for verb in getattr(command, "commands", ())}
        if name in {"learn", "generate"} and not ctx.resilient_parsing:
            defaults = Workspace().settings.option_defaults().get(name, {})
        if defaults:
            ctx.default_map = {**ctx.default_map, name: ctx.default_map[name] | defaults}
        return name, command, rest


def _lean(command: Any) -> Any:
    """The command, with the defaults of its options taken as they are.

    To check even those typer loads pydantic, which takes as long as all the rest of a start.
    """
    for param in command.params:

        def process(ctx: Any, value: Any, param: Any = param, check: Any = param.process_value) -> Any:
            return value if value is param.default and not param.required else check(ctx, value)

        param.process_value = process
    for each in getattr(command, "commands", {}).values():
        _lean(each)
    return command


# Plain help: rich's costs half of the start-up. No `--install-completion`: it edits the user's shell files. `--help` is
# False by default: typer has None, and for what is not a bool it loads pydantic, which takes as long as all the rest.
app = typer.Typer(
    cls=CavGroup,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={
        "max_content_width": 100,
        "default_map": {"help": False} | {command: {"help": False} for command in COMMANDS},
    },
)


@app.callback(invoke_without_command=True)
def _cav(
    ctx: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Learn a motion from one video and put it on new subjects.

    Start with `cav demo`.
    """
    if version:
        typer.echo(f"cav {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> NoReturn:
    """Run `cav` on this process's arguments and exit: 0, the code of the error, 2 for a usage error, 130 on Ctrl-C."""
    if "_CAV_COMPLETE" in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    with Output("cav", json="--json" in sys.argv):
        if any("\ud800" <= letter <= "\udfff" for argument in sys.argv for letter in argument):
            raise InvalidInput("the command line holds a byte that is no text", hint="give names and prompts in UTF-8")
        try:
            code = app(prog_name="cav", standalone_mode=False)
        except TyperException as error:
            raise _usage_error(error) from error
    sys.exit(code)


def _usage_error(error: TyperException) -> CavError:
    """What typer's parser says, in this program's words."""
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    hint = f"see `{context.command_path if context else 'cav'} --help`"
    if hasattr(error, "possibilities"):  # only an unknown option has them
        return InvalidInput(f"no such option `{option}`", hint=closest(str(option), error.possibilities or (), hint))
    text = re.sub(r"'([^']+)'", r"`\1`", error.format_message()).rstrip(".")
    return InvalidInput(re.sub(r"(?:^|(?<=: ))[A-Z]", lambda capital: capital[0].lower(), text), hint=hint)
