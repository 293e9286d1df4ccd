"""`cav completion`."""

from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.scripts import SCRIPTS, shells
from cavtool.cli.output import Output
from cavtool.errors import InvalidInput, closest

app = new_app()


@command(app, "completion")
def completion(
    out: Output,
    shell: Annotated[str, typer.Argument(help=f"Shell: {', '.join(SCRIPTS)}.", autocompletion=shells)],
) -> None:
    """Print the completion script of a shell.

    To try it in the current shell: `source <(cav completion bash)`
    """
    if shell not in SCRIPTS:
        raise InvalidInput(f"no script for `{shell}`", hint=closest(shell, SCRIPTS, f"one of {', '.join(SCRIPTS)}"))
    script = SCRIPTS[shell].text
    out.result({"script": script}, [script.rstrip()])
