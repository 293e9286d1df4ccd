"""`cav prune`."""

from datetime import timedelta
from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.format import size_text
from cavtool.cli.output import Output
from cavtool.workspace import Workspace

app = new_app()


@command(app, "prune")
def prune(
    out: Output,
    workspace: Workspace,
    *,
    days: Annotated[
        float, typer.Option(min=0, max=36_500, help="Age in days at which an unfinished run is stale.")
    ] = 30,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete the leftovers.")] = False,
) -> None:
    """Find and delete stale runs, partial files and unused absorbers.

    Without `--yes`, only lists these leftovers. Absorbers go to the trash; everything else is deleted permanently.

    Example: `cav prune --days 7 --yes`
    """
    from cavtool.prune import find, remove

    found = find(timedelta(days=days), workspace)
    if yes:
        remove(found, workspace)
    rows = [(each.what, each.name, size_text(each.size)) for each in found]
    data = [{"what": each.what, "name": each.name, "size": each.size, "removed": yes} for each in found]
    out.table(("KIND", "NAME", "SIZE"), rows, data)
    size = size_text(sum(each.size for each in found))
    summary = f"{size} freed" if yes else f"`--yes` would free {size}"
    out.note(summary if found else "nothing to prune")
