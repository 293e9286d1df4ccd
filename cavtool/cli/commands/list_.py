"""`cav list`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import listed_model_names, sort_keys, tags
from cavtool.cli.format import date_text, describe, shorten, size_text
from cavtool.cli.output import Output
from cavtool.errors import CavError, InvalidInput, closest
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry import Asset

app = new_app()

_PROMPT_LENGTH = 60

_SORT_KEYS: dict[str, Callable[["Asset"], Any]] = {
    "name": lambda asset: asset.record.name,
    "created": lambda asset: asset.record.created,
    "size": lambda asset: asset.size,
}


@command(app, "list")
def list_(
    out: Output,
    workspace: Workspace,
    *,
    motions: Annotated[bool, typer.Option("--motions", help="Only motions.")] = False,
    absorbers: Annotated[bool, typer.Option("--absorbers", help="Only absorbers.")] = False,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.", autocompletion=tags)] = None,
    model: Annotated[
        str | None, typer.Option(help="Only those of this base model.", autocompletion=listed_model_names)
    ] = None,
    sort: Annotated[
        str,
        typer.Option(help="Sort by name, or in descending order by created or size.", autocompletion=sort_keys),
    ] = "name",
    long: Annotated[bool, typer.Option("--long", "-l", help="Also show tags and prompts.")] = False,
) -> None:
    """List motions and absorbers.

    With `--quiet`, only their names.

    Examples: `cav list`, `cav list --tag dance --sort size`
    """
    if sort not in _SORT_KEYS:
        hint = closest(sort, _SORT_KEYS, f"one of {', '.join(_SORT_KEYS)}")
        raise InvalidInput(f"cannot sort by `{sort}`", hint=hint)
    kinds = {"motion": motions or not absorbers, "absorber": absorbers or not motions}
    for name, place in workspace.registry.hidden():
        out.note(f"`{name}` hides another of that name in `{place}`")
    listed = []
    for _, found in workspace.registry.scan():
        if isinstance(found, CavError):
            out.warning(found.message)
        elif (
            kinds[found.record.kind] and tag in {None, *found.record.tags} and model in {None, found.record.base_model}
        ):
            listed.append(found)
    listed.sort(key=_SORT_KEYS[sort], reverse=sort != "name")
    columns = ("NAME", "KIND", "BASE", "RANK", "SIZE", "CREATED", *(("TAGS", "PROMPT") if long else ()))
    out.table(columns, [_row(asset, long=long) for asset in listed], map(describe, listed))
    if not listed and not workspace.registry.names():
        out.hint("`cav learn NAME VIDEO` learns a motion, `cav demo` shows how")


def _row(asset: "Asset", *, long: bool) -> tuple[str, ...]:
    record = asset.record
    size, created = size_text(asset.size), date_text(record.created)
    also = (" ".join(record.tags), shorten(record.prompt, _PROMPT_LENGTH)) if long else ()
    return record.name, record.kind, record.base_model, str(record.rank), size, created, *also
