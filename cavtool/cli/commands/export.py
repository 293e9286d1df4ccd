"""`cav export`."""

from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.batch import expand
from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.cli.params import Names, Overwrite
from cavtool.workspace import Workspace

app = new_app()


@command(app, "export")
def export(
    out: Output,
    workspace: Workspace,
    names: Names,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File or folder (default: NAME.cav).")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write motions and absorbers to one file, to share them.

    Examples: `cav export twirl`, `cav export twirl 'dance-*' -o dances.cav`
    """
    from cavtool.registry.bundle import bundle_path, pack

    chosen = expand(names, workspace.registry.names())
    path = bundle_path(chosen, output, overwrite=overwrite)
    pack(workspace.registry, chosen, path)
    out.result({"path": str(path), "names": chosen}, [path])
