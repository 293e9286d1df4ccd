"""`cav mv`."""

from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.format import describe
from cavtool.cli.output import Output
from cavtool.cli.params import Name, Replace
from cavtool.workspace import Workspace

app = new_app()


@command(app, "mv")
def mv(
    out: Output,
    workspace: Workspace,
    name: Name,
    to: Annotated[str, typer.Argument(help="New name.")],
    *,
    replace: Replace = False,
) -> None:
    """Rename a motion or absorber.

    Example: `cav mv twirl pirouette`
    """
    out.result(describe(workspace.registry.rename(name, to, replace=replace)), [to])
