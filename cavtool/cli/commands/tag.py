"""`cav tag`."""

from typing import Annotated

import typer

from cavtool.cli.batch import expand, for_each
from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import asset_names
from cavtool.cli.output import Output
from cavtool.errors import InvalidInput
from cavtool.names import check_name
from cavtool.workspace import Workspace

app = new_app()


@command(app, "tag")
def tag(
    out: Output,
    workspace: Workspace,
    name: Annotated[
        str, typer.Argument(help="Name of a motion or absorber, or a glob: 'test-*'.", autocompletion=asset_names)
    ],
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to add (default: show the tags).")] = None,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Remove these tags instead.")] = False,
) -> None:
    """Show, add or remove the tags of motions and absorbers.

    `cav list --tag TAG` lists those with a tag.

    Examples: `cav tag twirl dance slow`, `cav tag 'test-*' draft --remove`
    """
    registry = workspace.registry
    chosen, changes = expand([name], registry.names()), set(map(check_name, tags or ()))
    if remove and not changes:
        raise InvalidInput("no tags to remove", hint=f"`cav tag {name}` shows the tags")

    def change(each: str) -> None:
        if changes:
            registry.annotate(each, remove=changes) if remove else registry.annotate(each, add=changes)

    done, failed, failure = for_each(out, "tagged" if changes else "read", chosen, change)
    now = {each: list(registry.get(each).record.tags) for each in done}
    out.result({"tags": now, "failed": failed}, [" ".join([each, *now[each]]) for each in done], failure=failure)
