"""Handing motions on: `cav export`, `cav import`."""

from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.commands.assets import describe
from cavtool.cli.completion.offers import asset_names, bundle_files
from cavtool.cli.many import expand
from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.errors import Conflict, InvalidInput
from cavtool.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)


@app.command()
def export(
    names: Annotated[list[str], typer.Argument(help="Motions and absorbers.", autocompletion=asset_names)],
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: NAME.cav, here.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the file.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put motions and absorbers into one file to hand on.

    Examples: `cav export twirl`, `cav export twirl 'dance-*' -o dances.cav`
    """
    from cavtool.registry.bundle import SUFFIX, pack

    with Output("export", json=as_json, quiet=quiet) as out:
        registry = Workspace().registry
        chosen = expand(names, registry.names())
        if output is None and len(chosen) > 1:
            raise InvalidInput("say what to call the file of several", hint=f"`-o some{SUFFIX}`")
        path = output or Path(f"{chosen[0]}{SUFFIX}")
        path = path / f"{chosen[0]}{SUFFIX}" if path.is_dir() else path
        if path.exists() and not replace:
            raise Conflict(f"`{path}` exists already", hint="choose another with `-o`, or pass `--replace`")
        pack(registry, chosen, path)
        out.result({"path": str(path), "names": chosen}, [path])


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .cav file.", dir_okay=False, autocompletion=bundle_files)],
    *,
    to: Annotated[str | None, typer.Option("--as", help="Keep it under another name.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move what has a name now to the trash.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep what is in a file of `cav export`.

    Every file is compared with its checksum first. Example: `cav import twirl.cav --as her-twirl`
    """
    from cavtool.registry.bundle import contents, unpack

    with Output("import", json=as_json, quiet=quiet) as out:
        if to and len(held := contents(file)) > 1:
            raise InvalidInput(f"`{file.name}` holds {len(held)} assets, `--as` names one")
        assets = unpack(Workspace(on_wait=out.note).registry, file, to=to, replace_it=replace)
        out.result({"assets": [describe(asset) for asset in assets]}, [asset.record.name for asset in assets])
