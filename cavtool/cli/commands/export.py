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
        Path | None, typer.Option("--output", "-o", help="File, folder, or `-`: stdout (default: NAME.cav).")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write motions and absorbers to one file, to share them.

    Examples: `cav export twirl`, `cav export twirl 'dance-*' -o dances.cav`
    """
    from cavtool.registry.bundle import bundle_path, pack

    chosen = expand(names, workspace.registry.names())
    if str(output) == "-":
        _to_stdout(out, workspace, chosen)
        return
    path = bundle_path(chosen, output, overwrite=overwrite)
    pack(workspace.registry, chosen, path)
    out.result({"path": str(path), "names": chosen}, [path])


def _to_stdout(out: Output, workspace: Workspace, names: list[str]) -> None:
    """Write the bundle itself to stdout, for a pipe or a redirection."""
    from cavtool.registry.bundle import pack

    if out.json or sys.stdout.isatty():
        raise InvalidInput("a bundle is not text: it cannot be shown here", hint="name a file with `-o`, or use a pipe")
    with TemporaryDirectory() as folder:
        pack(workspace.registry, names, file := Path(folder, "stdout.cav"))
        with file.open("rb") as opened, writing_to(Path("stdout")):
            shutil.copyfileobj(opened, sys.stdout.buffer)
            sys.stdout.flush()
