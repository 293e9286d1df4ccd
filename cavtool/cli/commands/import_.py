"""`cav import`."""

from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.batch import for_each
from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import bundle_files
from cavtool.cli.format import describe
from cavtool.cli.output import Output
from cavtool.cli.params import Replace
from cavtool.errors import InvalidInput
from cavtool.workspace import Workspace

app = new_app()


@command(app, "import")
def import_(
    out: Output,
    workspace: Workspace,
    files: Annotated[list[Path], typer.Argument(help="Files to import (.cav).", autocompletion=bundle_files)],
    *,
    to: Annotated[
        str | None, typer.Option("--as", help="Name to import it under (default: the one in the file).")
    ] = None,
    replace: Replace = False,
) -> None:
    """Import motions and absorbers from files that `cav export` wrote.

    Nothing of a file is imported unless everything in it matches its checksum.

    Examples: `cav import twirl.cav --as spin`, `cav import *.cav`
    """
    from cavtool.registry.bundle import unpack

    if to is not None and len(files) > 1:
        raise InvalidInput(f"`--as` names only one, not what is in {len(files)} files", hint="import them one by one")
    assets = []

    def import_one(file: str) -> None:
        assets.extend(unpack(workspace.registry, Path(file), to=to, replace_it=replace))

    _, failed, failure = for_each(out, "imported", map(str, files), import_one)
    data = {"assets": [describe(asset) for asset in assets], "failed": failed}
    out.result(data, [asset.record.name for asset in assets], failure=failure)
