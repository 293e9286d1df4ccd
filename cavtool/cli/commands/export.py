"""`cav export`."""

from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.batch import expand
from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.cli.params import Names, Overwrite
from cavtool.recipes import Layout
from cavtool.workspace import Workspace

app = new_app()


@command(app, "export")
def export(
    out: Output,
    workspace: Workspace,
    names: Names,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder (default: NAME.cav, or NAME.safetensors).")
    ] = None,
    layout: Annotated[
        Layout, typer.Option("--format", help="One file for `cav`, or LoRA files for other tools.")
    ] = Layout.CAV,
    overwrite: Overwrite = False,
) -> None:
    """Write motions and absorbers to files, to share them or to use them in other tools.

    The default is one .cav file, which holds everything; other formats are LoRA files, one for each motion or absorber.

    Examples: `cav export twirl`, `cav export twirl 'dance-*' -o dances.cav`, `cav export twirl --format diffusers`
    """
    from cavtool.registry.bundle import bundle_path, pack

    chosen = expand(names, workspace.registry.names())
    if layout is not Layout.CAV:
        with out.progress() as on_event:
            from cavtool.studio.transfer import export_loras

            files = export_loras(
                chosen, layout, output=output, overwrite=overwrite, workspace=workspace, on_event=on_event
            )
        out.result({"files": [str(file) for file in files], "names": chosen}, files)
        return
    path = bundle_path(chosen, output, overwrite=overwrite)
    pack(workspace.registry, chosen, path)
    out.result({"path": str(path), "names": chosen}, [path])
