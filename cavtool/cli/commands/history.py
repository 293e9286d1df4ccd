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
    from cavtool.history import Entry
    from cavtool.recipes import Blend

app = new_app()

_PROMPT_LENGTH = 40


@command(app, "history")
def history(
    out: Output,
    workspace: Workspace,
    *,
    again: Annotated[int, typer.Option(metavar="N", help="Generate entry N again.", show_default=False)] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder (default: PROMPT-MOTION-SEED.mp4).")
    ] = None,
    overwrite: Overwrite = False,
    num: Annotated[int, typer.Option("-n", min=1, help="Number of entries to list.")] = 20,
) -> None:
    """List generated videos, or generate one of them again.

    Example: `cav history --again 3 -o again.mp4`
    """
    if not again:
        entries = workspace.history.entries()[-num:]
        out.table(("N", "CREATED", "PROMPT", "MOTIONS", "SEED", "FILE"), map(_row, entries), map(asdict, entries))
        return
    recipe = workspace.history.entry(again).recipe
    with out.progress() as on_event:
        from cavtool.studio import generate as studio

        files = studio.generate(recipe, output=output, overwrite=overwrite, workspace=workspace, on_event=on_event)
    out.result({"files": list(map(str, files))}, files)


def _row(entry: "Entry") -> tuple[str, ...]:
    recipe = entry.recipe
    return (
        str(entry.number),
        date_text(entry.created),
        shorten(recipe.prompt, _PROMPT_LENGTH),
        " ".join(map(_motion, recipe.motions)) or "-",
        str(recipe.seed),
        entry.files[0] if entry.files else "",
    )


def _motion(blend: "Blend") -> str:
    text = f"{blend.name}:{blend.weight:g}"
    return text if blend.window is None else f"{text}@{window_text(blend.window)}"
