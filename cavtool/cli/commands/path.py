"""`cav path`."""

from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import asset_names
from cavtool.cli.output import Output
from cavtool.workspace import Workspace

app = new_app()


@command(app, "path")
def path(
    out: Output,
    workspace: Workspace,
    name: Annotated[
        str | None,
        typer.Argument(help="Name of a motion or absorber (default: the registry).", autocompletion=asset_names),
    ] = None,
) -> None:
    """Print the folder of the registry, or of a motion or absorber.

    Example: `cav path twirl`
    """
    folder = workspace.registry.get(name).folder if name is not None else workspace.registry.root
    out.result({"path": str(folder)}, [folder])
