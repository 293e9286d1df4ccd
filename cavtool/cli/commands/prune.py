"""`cav prune`."""

from datetime import timedelta
from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.format import size_text
from cavtool.cli.output import Output
from cavtool.cli.params import DryRun, Yes
from cavtool.errors import counted
from cavtool.workspace import Workspace

app = new_app()


@command(app, "prune")
def prune(
    out: Output,
    workspace: Workspace,
    *,
    days: Annotated[
        float, typer.Option(min=0, max=36_500, help="Days without changes after which a run is stale.")
    ] = 30,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Find and delete stale runs, partial files and unused absorbers.

    Absorbers go to the trash; everything else is deleted permanently.

    Examples: `cav prune --dry-run`, `cav prune --days 7 --yes`
    """
    from cavtool.prune import find, remove

    found = find(timedelta(days=days), workspace)
    size = size_text(sum(each.size for each in found))
    if found and not (yes or dry_run):
        for each in found:
            out.note(f"{each.what} `{each.name}`, {size_text(each.size)}")
        out.confirm(f"Delete {counted(len(found), 'leftover')} ({size})?", if_declined="nothing was deleted")
    if not dry_run:
        remove(found, workspace)
    rows = [(each.what, each.name, size_text(each.size)) for each in found]
    data = [{"what": each.what, "name": each.name, "size": each.size, "removed": not dry_run} for each in found]
    out.table(("KIND", "NAME", "SIZE"), rows, data, name=1)
    summary = f"{size} would be freed" if dry_run else f"{size} freed"
    out.note(summary if found else "nothing to prune")
