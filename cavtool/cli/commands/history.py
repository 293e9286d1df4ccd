"""`cav history`: what was generated, and once more."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.commands.assets import date_text
from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)

_LONGEST = 40  # characters of a prompt


@app.command()
def history(
    *,
    again: Annotated[int, typer.Option(metavar="N", help="Make number N once more.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where that goes.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that file.")] = False,
    num: Annotated[int, typer.Option("-n", min=1, help="How many to list.")] = 20,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List what was generated, the latest last.

    Example: `cav history --again 3 -o again.mp4`
    """
    with Output("history", json=as_json, quiet=quiet) as out:
        workspace = Workspace()
        if again:
            recipe = workspace.history.entry(again).recipe
            with out.progress() as on_event:
                from cavtool.studio import generate as studio

                files = studio.generate(
                    recipe, output=output, overwrite=overwrite, workspace=workspace, on_event=on_event
                )
            out.result({"files": list(map(str, files))}, files)
            return
        there = workspace.history.entries()[-num:]
        rows = [
            (
                str(each.number),
                date_text(each.created),
                _short(each.recipe.prompt),
                " ".join(f"{motion.name}:{motion.weight:g}" for motion in each.recipe.motions) or "-",
                str(each.recipe.seed),
                each.files[0] if each.files else "",
            )
            for each in there
        ]
        out.table(("N", "CREATED", "PROMPT", "MOTIONS", "SEED", "FILE"), rows, map(asdict, there))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
