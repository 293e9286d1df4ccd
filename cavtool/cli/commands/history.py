"""`cav history`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.format import date_text, shorten
from cavtool.cli.output import Output
from cavtool.cli.params import Overwrite, Yes
from cavtool.errors import counted
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
    action: Annotated[Literal["list", "clear"], typer.Argument(help="List the entries, or forget them all.")] = "list",
    *,
    again: Annotated[int | None, typer.Option(metavar="N", help="Make entry N again.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder (default: PROMPT-MOTION-SEED.mp4 here).")
    ] = None,
    overwrite: Overwrite = False,
    num: Annotated[int, typer.Option("-n", min=1, help="Number of entries to list.")] = 20,
    yes: Yes = False,
) -> None:
    """List generated and edited videos, make one of them again, or forget them.

    Examples: `cav history --again 3 -o again.mp4`, `cav history clear`
    """
    if action == "clear":
        _clear(out, workspace, yes=yes)
        return
    if again is None:
        for failure in workspace.history.damaged():
            out.warning(failure.message)
        entries = workspace.history.entries()[-num:]
        columns = ("N", "CREATED", "PROMPT", "MOTIONS", "SEED", "FILE")
        out.table(columns, map(_row, entries), map(asdict, entries), name=len(columns) - 1)
        return
    entry = workspace.history.entry(again)
    with out.progress() as on_event:
        files = _make_again(entry, output, workspace, on_event, overwrite=overwrite)
    out.result({"files": list(map(str, files))}, files)


def _clear(out: Output, workspace: Workspace, *, yes: bool) -> None:
    num_entries = len(workspace.history.entries())
    if num_entries and not yes:
        out.confirm(
            f"Forget {counted(num_entries, 'entry', 'entries')}? The videos are kept.",
            if_declined="nothing was forgotten",
        )
    num_entries = workspace.history.clear()
    out.note(f"{counted(num_entries, 'entry', 'entries')} forgotten; the videos are kept")
    out.result({"forgotten": num_entries}, ())


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
