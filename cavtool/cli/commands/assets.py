"""What is in the registry: `cav list`, `cav show`, `cav rm`."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.completion.offers import asset_names
from cavtool.cli.many import do_each, expand
from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.errors import CavError, InvalidInput, closest
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry import Asset

app = typer.Typer(rich_markup_mode=None)


_ORDERS: dict[str, Callable[["Asset"], Any]] = {
    "name": lambda asset: asset.record.name,
    "created": lambda asset: asset.record.created,
    "size": lambda asset: asset.size,
}


@app.command("list")
def list_(
    *,
    motions: Annotated[bool, typer.Option("--motions", help="Only motions.")] = False,
    absorbers: Annotated[bool, typer.Option("--absorbers", help="Only absorbers.")] = False,
    tag: Annotated[str, typer.Option(help="Only those with this tag.")] = "",
    model: Annotated[str, typer.Option(help="Only those learned on this base model.")] = "",
    sort: Annotated[
        str, typer.Option(help=f"By {', '.join(_ORDERS)}; names from a, all else the most first.")
    ] = "name",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List motions and absorbers.

    Examples: `cav list`, `cav list --tag dance --sort size`
    """
    with Output("list", json=as_json, quiet=quiet) as out:
        if sort not in _ORDERS:
            raise InvalidInput(f"cannot sort by `{sort}`", hint=closest(sort, _ORDERS, f"one of {', '.join(_ORDERS)}"))
        kinds = {"motion": motions or not absorbers, "absorber": absorbers or not motions}
        assets = []
        registry = Workspace().registry
        for name, place in registry.hidden():
            out.note(f"`{name}` hides another in `{place}`")
        for _, found in registry.scan():
            if isinstance(found, CavError):
                out.warning(found.message)
            elif (
                kinds[found.record.kind] and tag in {"", *found.record.tags} and model in {"", found.record.base_model}
            ):
                assets.append(found)
        assets.sort(key=_ORDERS[sort], reverse=sort != "name")
        out.table(("NAME", "KIND", "BASE", "RANK", "SIZE", "CREATED"), map(_row, assets), map(describe, assets))
        if not registry.names():
            out.hint("`cav learn NAME VIDEO` learns a motion, `cav demo` shows how")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A motion or an absorber.", autocompletion=asset_names)],
    *,
    path: Annotated[bool, typer.Option("--path", help="Print only the folder it is kept in.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show all that is known of a motion or absorber.

    On a terminal, with pictures of the reference and the preview.

    Example: `cav show twirl`
    """
    from cavtool.registry.record import to_toml

    with Output("show", json=as_json, quiet=quiet) as out:
        asset = Workspace().registry.get(name)
        out.result(describe(asset), [asset.folder if path else to_toml(asset.record).rstrip()])
        if sys.stdout.isatty() and not (path or as_json):
            _draw(asset, out)


@app.command()
def rm(
    names: Annotated[list[str], typer.Argument(help="Motions and absorbers.", autocompletion=asset_names)],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Move motions and absorbers to the trash.

    `cav rm 'test-*'` moves all that match; `cav trash restore NAME` brings one back.
    """
    with Output("rm", json=as_json, quiet=quiet) as out:
        registry = Workspace(on_wait=out.note).registry
        chosen = expand(names, registry.own_names())
        if not (yes or dry_run or out.confirm(f"Move {', '.join(chosen)} to the trash?", hint="add `--yes`")):
            out.note("nothing was removed")
            raise typer.Exit(1)
        removed, failure = do_each(out, "removed", chosen, registry.check_there if dry_run else registry.remove)
        out.result({"removed": removed, "dry_run": dry_run}, removed, failure=failure)


def describe(asset: "Asset") -> dict[str, Any]:
    """An asset for scripts: its record, and where and how large it is."""
    return {**asdict(asset.record), "path": str(asset.folder), "size": asset.size}


def size_text(num_bytes: int) -> str:
    """A size in decimal units, as disks are sold: 1.2 MB."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.1f} kB"


def date_text(moment: str) -> str:
    """A moment in ISO 8601, in local time and to the minute: 2026-11-22 14:32; as it is if it is none."""
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return moment


def _row(asset: "Asset") -> tuple[str, ...]:
    record = asset.record
    size, created = size_text(asset.size), date_text(record.created)
    return record.name, record.kind, record.base_model, str(record.rank), size, created


def _draw(asset: "Asset", out: Output) -> None:
    from cavtool.cli.pictures import draw

    for label, video in (("reference", asset.reference), ("preview", asset.preview)):
        if video.exists():
            try:
                draw(label, video)
            except CavError as error:
                out.note(f"no picture of the {label}: {error.message}")
