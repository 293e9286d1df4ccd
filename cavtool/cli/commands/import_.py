"""`cav import`."""

from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import bundle_files
from cavtool.cli.format import describe
from cavtool.cli.output import Output
from cavtool.cli.params import Replace
from cavtool.workspace import Workspace

app = new_app()


@command(app, "import")
def import_(
    out: Output,
    workspace: Workspace,
    file: Annotated[Path, typer.Argument(help="File to import (.cav).", dir_okay=False, autocompletion=bundle_files)],
    *,
    to: Annotated[
        str | None, typer.Option("--as", help="Name to import it under (default: the one in the file).")
    ] = None,
    replace: Replace = False,
) -> None:
    """Import motions and absorbers from a file that `cav export` wrote.

    Nothing is imported unless every file matches its checksum.

    Example: `cav import twirl.cav --as spin`
    """
    from cavtool.registry.bundle import unpack

    assets = unpack(workspace.registry, file, to=to, replace_it=replace)
    out.result({"assets": [describe(asset) for asset in assets]}, [asset.record.name for asset in assets])
