"""`cav history`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.format import date_text, shorten
from cavtool.cli.output import Output
from cavtool.cli.params import Overwrite
from cavtool.recipes.blend import window_text
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.events import OnEvent
    from cavtool.history import EditEntry, Entry
    from cavtool.recipes import Blend

app = new_app()

_PROMPT_LENGTH = 40


@command(app, "history")
def history(
    out: Output,
    workspace: Workspace,
    *,
    again: Annotated[int, typer.Option(metavar="N", help="Make entry N again.", show_default=False)] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder (default: as when it was made).")
    ] = None,
    overwrite: Overwrite = False,
    num: Annotated[int, typer.Option("-n", min=1, help="Number of entries to list.")] = 20,
) -> None:
    """List generated and edited videos, or make one of them again.

    Example: `cav history --again 3 -o again.mp4`
    """
    if not again:
        entries = workspace.history.entries()[-num:]
        out.table(("N", "CREATED", "PROMPT", "MOTIONS", "SEED", "FILE"), map(_row, entries), map(asdict, entries))
        return
    entry = workspace.history.entry(again)
    with out.progress() as on_event:
        files = _make_again(entry, output, workspace, on_event, overwrite=overwrite)
    out.result({"files": list(map(str, files))}, files)


def _make_again(
    entry: "Entry | EditEntry", output: Path | None, workspace: Workspace, on_event: "OnEvent", *, overwrite: bool
) -> list[Path]:
    from cavtool.history import EditEntry

    if isinstance(entry, EditEntry):
        from cavtool.studio.edit import edit

        video = Path(entry.video)
        return [edit(video, entry.recipe, output=output, overwrite=overwrite, workspace=workspace, on_event=on_event)]
    from cavtool.studio.generate import generate

    return generate(entry.recipe, output=output, overwrite=overwrite, workspace=workspace, on_event=on_event)


def _row(entry: "Entry | EditEntry") -> tuple[str, ...]:
    recipe = entry.recipe
    return (
        str(entry.number),
        date_text(entry.created),
        shorten(recipe.prompt, _PROMPT_LENGTH),
        " ".join(map(_motion, recipe.motions)) or "-",
        "-" if recipe.seed is None else str(recipe.seed),
        entry.files[0] if entry.files else "",
    )


def _motion(blend: "Blend") -> str:
    text = f"{blend.name}:{blend.weight:g}"
    return text if blend.window is None else f"{text}@{window_text(blend.window)}"
