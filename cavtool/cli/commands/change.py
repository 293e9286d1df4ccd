"""Changing what is in the registry: `cav cp`, `cav mv`, `cav tag`, `cav note`."""

from typing import Annotated

import typer

from cavtool.cli.commands.assets import describe
from cavtool.cli.completion.offers import asset_names
from cavtool.cli.many import do_each, expand
from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.errors import InvalidInput
from cavtool.names import check_name
from cavtool.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="A motion or an absorber.", autocompletion=asset_names)]
Replace = Annotated[bool, typer.Option("--replace", help="Move what has the name now to the trash.")]


@app.command()
def cp(
    name: Name,
    to: Annotated[str, typer.Argument(help="Its other name.")],
    *,
    replace: Replace = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep a motion or absorber under another name too.

    Example: `cav cp twirl twirl-v1`
    """
    with Output("cp", json=as_json, quiet=quiet) as out:
        asset = Workspace(on_wait=out.note).registry.copy(name, to, replace=replace)
        out.result(describe(asset), [to])


@app.command()
def mv(
    name: Name,
    to: Annotated[str, typer.Argument(help="Its new name.")],
    *,
    replace: Replace = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give a motion or absorber another name.

    Example: `cav mv twirl pirouette`
    """
    with Output("mv", json=as_json, quiet=quiet) as out:
        asset = Workspace(on_wait=out.note).registry.rename(name, to, replace=replace)
        out.result(describe(asset), [to])


@app.command()
def tag(
    name: Annotated[
        str, typer.Argument(help="A motion or an absorber, or many: 'test-*'.", autocompletion=asset_names)
    ],
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to set; none shows those that are.")] = None,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take these tags away.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Set the tags of motions and absorbers, by which `cav list --tag` chooses.

    Examples: `cav tag twirl dance slow`, `cav tag 'test-*' draft --remove`
    """
    with Output("tag", json=as_json, quiet=quiet) as out:
        registry = Workspace(on_wait=out.note).registry
        chosen, asked = expand([name], registry.names()), set(map(check_name, tags or ()))
        if remove and not asked:
            raise InvalidInput("say which tags to take away", hint=f"`cav tag {name}` shows them")

        def change(each: str) -> None:
            if asked:
                registry.annotate(each, remove=asked) if remove else registry.annotate(each, add=asked)

        done, failure = do_each(out, "tagged" if asked else "read", chosen, change)
        now = {each: list(registry.get(each).record.tags) for each in done}
        out.result({"tags": now}, [" ".join([each, *now[each]]) for each in done], failure=failure)


@app.command()
def note(
    name: Name,
    text: Annotated[str | None, typer.Argument(help="What to note; none shows it, '' clears it.")] = None,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep a note with a motion or absorber.

    Example: `cav note twirl "too fast: try --duration 3"`
    """
    with Output("note", json=as_json, quiet=quiet) as out:
        registry = Workspace(on_wait=out.note).registry
        asset = registry.get(name) if text is None else registry.annotate(name, note=text)
        out.result({"note": asset.record.note}, [asset.record.note] if asset.record.note else [])
