"""`cav trash`: removed and replaced motions and absorbers."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import trash_ids
from cavtool.cli.format import date_text, describe, size_text
from cavtool.cli.output import Output
from cavtool.cli.params import DryRun, Yes
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry.trash import TrashEntry

app = new_app("List, restore or delete removed motions and absorbers.")


@command(app, "trash list")
def list_(out: Output, workspace: Workspace) -> None:
    """List the trash, the newest first.

    Example: `cav trash list`
    """
    from cavtool.registry.trash import list_trash

    entries = list_trash(workspace.registry)
    rows = [(each.id, each.name, size_text(each.size), date_text(each.removed.isoformat())) for each in entries]
    out.table(("ID", "NAME", "SIZE", "REMOVED"), rows, map(_describe, entries))


@command(app, "trash restore")
def restore(
    out: Output,
    workspace: Workspace,
    name_or_id: Annotated[
        str,
        typer.Argument(
            metavar="name",
            help="Name (restores its newest entry) or id, as `cav trash list` shows it.",
            autocompletion=trash_ids,
        ),
    ],
    *,
    to: Annotated[str | None, typer.Option("--as", help="Name to restore it under (default: its former name).")] = None,
) -> None:
    """Restore a removed or replaced motion or absorber.

    Examples: `cav trash restore twirl`, `cav trash restore twirl --as spin`
    """
    from cavtool.registry import trash

    asset = trash.restore(workspace.registry, name_or_id, to=to)
    out.result(describe(asset), [asset.record.name])


@command(app, "trash empty")
def empty(
    out: Output,
    workspace: Workspace,
    *,
    days: Annotated[
        float, typer.Option(min=0, max=36_500, help="Only entries removed at least this many days ago.")
    ] = 0,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete the trash permanently.

    Example: `cav trash empty --days 30`
    """
    from cavtool.registry import trash

    chosen = trash.older_than(workspace.registry, timedelta(days=days))
    sizes = {each.id: each.size for each in chosen}
    if chosen and not (yes or dry_run):
        question = f"Delete {len(chosen)} from the trash permanently ({size_text(sum(sizes.values()))})?"
        out.confirm(question, if_declined="nothing was deleted")
    deleted = [each.id for each in (chosen if dry_run else trash.empty(workspace.registry, chosen))]
    freed = sum(sizes[each] for each in deleted)
    out.note(f"{len(deleted)} {'would be ' if dry_run else ''}deleted, {size_text(freed)}")
    out.result({"deleted": deleted, "freed": freed, "dry_run": dry_run}, deleted)


def _describe(entry: "TrashEntry") -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "removed": entry.removed.isoformat(timespec="seconds"),
        "size": entry.size,
        "path": str(entry.folder),
    }
