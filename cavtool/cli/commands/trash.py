"""`cav trash`: removed and replaced motions and absorbers."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.batch import expand, for_each
from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import trash_ids
from cavtool.cli.format import date_text, describe, size_text
from cavtool.cli.output import Output
from cavtool.cli.params import DryRun, Yes
from cavtool.errors import InvalidInput, counted
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
    names_or_ids: Annotated[
        list[str],
        typer.Argument(
            metavar="names",
            help="Names (restores the newest entry of each), ids as `cav trash list` shows them, or globs: 'test-*'.",
            autocompletion=trash_ids,
        ),
    ],
    *,
    to: Annotated[str | None, typer.Option("--as", help="Name to restore it under (default: its former name).")] = None,
) -> None:
    """Restore removed or replaced motions and absorbers.

    Examples: `cav trash restore twirl twirl-look`, `cav trash restore twirl --as spin`
    """
    from cavtool.registry import trash

    registry, restored = workspace.registry, []
    chosen = expand(names_or_ids, sorted({each.name for each in trash.list_trash(registry)}), "cav trash list")
    if to is not None and len(chosen) > 1:
        raise InvalidInput(f"`--as` takes one name, not {len(chosen)}", hint="restore them one by one")

    def restore_one(name: str) -> None:
        restored.append(trash.restore(registry, name, to=to))

    _, failed, failure = for_each(out, "restored", chosen, restore_one)
    data = {"assets": [describe(asset) for asset in restored], "failed": failed}
    out.result(data, [asset.record.name for asset in restored], failure=failure)


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
        question = (
            f"Delete {counted(len(chosen), 'item')} from the trash permanently ({size_text(sum(sizes.values()))})?"
        )
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
