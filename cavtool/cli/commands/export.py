"""`cav export`."""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from cavtool.cli.batch import expand
from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.cli.params import Names, Overwrite
from cavtool.errors import InvalidInput
from cavtool.recipes import Layout
from cavtool.system.files import writing_to
from cavtool.workspace import Workspace

app = new_app()


@command(app, "export")
def export(
    out: Output,
    workspace: Workspace,
    names: Names,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File, folder, or `-`: stdout (default: NAME.cav, or NAME.safetensors)."),
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
        _to_loras(out, workspace, chosen, layout, output, overwrite=overwrite)
        return
    if str(output) == "-":
        _to_stdout(out, workspace, chosen)
        return
    path = bundle_path(chosen, output, overwrite=overwrite)
    pack(workspace.registry, chosen, path)
    out.result({"path": str(path), "names": chosen}, [path])


def _to_loras(
    out: Output, workspace: Workspace, names: list[str], layout: Layout, output: Path | None, *, overwrite: bool
) -> None:
    """Write each motion and absorber as a LoRA file of another tool."""
    if str(output) == "-":
        raise InvalidInput("a LoRA file cannot be written to stdout", hint="name a file or a folder with `-o`")
    with out.progress() as on_event:
        from cavtool.studio.transfer import export_loras

        files = export_loras(names, layout, output=output, overwrite=overwrite, workspace=workspace, on_event=on_event)
    out.result({"files": [str(file) for file in files], "names": names}, files)


def _to_stdout(out: Output, workspace: Workspace, names: list[str]) -> None:
    """Write the bundle itself to stdout, for a pipe or a redirection."""
    from cavtool.registry.bundle import pack

    if out.json or sys.stdout.isatty():
        raise InvalidInput(
            "a .cav file is binary: it cannot be shown in a terminal or as JSON",
            hint="name a file with `-o`, or use a pipe",
        )
    with TemporaryDirectory() as folder:
        pack(workspace.registry, names, file := Path(folder, "stdout.cav"))
        with file.open("rb") as opened, writing_to(Path("stdout")):
            shutil.copyfileobj(opened, sys.stdout.buffer)
            sys.stdout.flush()
