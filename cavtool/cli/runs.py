"""`cav runs`: trainings that can go on."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.assets import date_text
from cavtool.cli.completers import run_ids
from cavtool.cli.learn import report
from cavtool.cli.output import Output
from cavtool.cli.params import Json

if TYPE_CHECKING:
    from cavtool.runs import Run

app = typer.Typer(rich_markup_mode=None)
runs = typer.Typer(rich_markup_mode=None)
app.add_typer(runs, name="runs", help="List training runs, or go on with one that was stopped.")


@runs.command("list")
def list_(*, as_json: Json = False) -> None:
    """List training runs, the newest first."""
    from cavtool.runs import list_runs

    with Output("runs list", json=as_json) as out:
        data = [_describe(run) for run in list_runs()]
        rows = [(run["id"], run["name"], run["status"], str(run["step"]), date_text(run["created"])) for run in data]
        out.table(("ID", "MOTION", "STATUS", "STEP", "CREATED"), rows, data)


@runs.command()
def resume(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="As `cav runs list` shows it.", autocompletion=run_ids)],
    *,
    as_json: Json = False,
) -> None:
    """Go on with a training run that was stopped.

    It ends with the very weights it would have had without the stop.
    """
    from cavtool.runs import open_run

    with Output("runs resume", json=as_json) as out:
        open_run(run_id)  # the workflow asks too, but after torch has loaded
        with out.progress() as on_event:
            from cavtool.studio import learn as studio

            asset = studio.resume(run_id, on_event=on_event)
        report(asset, out)


def _describe(run: "Run") -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "step": run.step,
        "created": run.created,
        "reason": run.reason,
        "settings": run.settings,
        "path": str(run.folder),
    }
