"""`cav trash`: what was removed or replaced, and the way back."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.commands.assets import date_text, describe, size_text
from cavtool.cli.completion.offers import thrown_ids
from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry.trash import TrashEntry

app = typer.Typer(rich_markup_mode=None)
trash = typer.Typer(rich_markup_mode=None)
app.add_typer(trash, name="trash", help="List, bring back or delete what was removed or replaced.")


@trash.command("list")
def list_(*, as_json: Json = False, quiet: Quiet = False) -> None:
    """List what lies in the trash, the newest first.

    Example: `cav trash list`
    """
    from cavtool.registry.trash import list_trash

    with Output("trash list", json=as_json, quiet=quiet) as out:
        there = list_trash(Workspace().registry)
        rows = [
            (thrown.id, thrown.name, size_text(thrown.size), date_text(thrown.removed.isoformat())) for thrown in there
        ]
        out.table(("ID", "NAME", "SIZE", "REMOVED"), rows, map(_describe, there))


@trash.command()
def restore(
    wanted: Annotated[
        str, typer.Argument(metavar="NAME", help="A name, or an ID for an older one.", autocompletion=thrown_ids)
    ],
    *,
    to: Annotated[str | None, typer.Option("--as", help="Bring it back under another name.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring back what was removed or replaced last under a name.

    Examples: `cav trash restore twirl`, `cav trash restore twirl --as old-twirl`
    """
    from cavtool.registry.trash import restore as bring_back

    with Output("trash restore", json=as_json, quiet=quiet) as out:
        asset = bring_back(Workspace(on_wait=out.note).registry, wanted, to=to)
        out.result(describe(asset), [asset.record.name])


@trash.command()
def empty(
    *,
    days: Annotated[float, typer.Option(min=0, max=36_500, help="Only what has lain there for so many days.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete what lies in the trash, for good.

    Example: `cav trash empty --days 30`
    """
    from cavtool.registry.trash import empty as delete
    from cavtool.registry.trash import older_than

    with Output("trash empty", json=as_json, quiet=quiet) as out:
        registry = Workspace(on_wait=out.note).registry
        chosen = older_than(registry, timedelta(days=days))
        sizes = {thrown.id: thrown.size for thrown in chosen}
        question = f"Delete {len(chosen)} from the trash for good ({size_text(sum(sizes.values()))})?"
        if chosen and not (yes or dry_run or out.confirm(question, hint="add `--yes`")):
            out.note("nothing was deleted")
            raise typer.Exit(1)
        gone = chosen if dry_run else delete(registry, chosen)
        size = sum(sizes[thrown.id] for thrown in gone)
        out.note(f"{len(gone)} {'would be ' if dry_run else ''}deleted, {size_text(size)}")
        out.result({"deleted": [thrown.id for thrown in gone], "freed": size, "dry_run": dry_run}, [t.id for t in gone])


def _describe(thrown: "TrashEntry") -> dict[str, Any]:
    return {
        "id": thrown.id,
        "name": thrown.name,
        "removed": thrown.removed.isoformat(timespec="seconds"),
        "size": thrown.size,
        "path": str(thrown.folder),
    }
