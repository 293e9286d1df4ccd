"""`cav cp`."""

from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.format import describe
from cavtool.cli.output import Output
from cavtool.cli.params import Name, Replace
from cavtool.workspace import Workspace

app = new_app()


@command(app, "cp")
def cp(
    out: Output,
    workspace: Workspace,
    name: Name,
    to: Annotated[str, typer.Argument(help="Name of the copy.")],
    *,
    replace: Replace = False,
) -> None:
    """Copy a motion or absorber.

    Example: `cav cp twirl twirl-v1`
    """
    out.result(describe(workspace.registry.copy(name, to, replace=replace)), [to])
