"""`cav runs`: trainings that can go on."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.commands.assets import date_text
from cavtool.cli.commands.learn import report
from cavtool.cli.completion.offers import run_ids
from cavtool.cli.many import do_each, expand
from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.errors import TrainingError
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.runs import Run
app = typer.Typer(rich_markup_mode=None)
group = typer.Typer(rich_markup_mode=None)
app.add_typer(group, name="runs", help="Training runs: list, watch, stop, go on with, delete.")

RunId = Annotated[str, typer.Argument(metavar="ID", help="As `cav runs list` shows it.", autocompletion=run_ids)]


@group.command("list")
def list_(*, as_json: Json = False, quiet: Quiet = False) -> None:
    """List training runs, the newest first.

    Example: `cav runs list`
    """
    with Output("runs list", json=as_json, quiet=quiet) as out:
        runs = Workspace().runs
        for failure in runs.broken():
            out.warning(failure.message)
        data = [_describe(run) for run in runs.list()]
        rows = [(run["id"], run["name"], run["status"], str(run["step"]), date_text(run["created"])) for run in data]
        out.table(("ID", "MOTION", "STATUS", "STEP", "CREATED"), rows, data)


@group.command()
def resume(
    run_id: RunId,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a training run that was stopped.

    It ends with the very weights it would have had without the stop.

    Example: `cav runs resume twirl-20261122-1432-3f2a`
    """
    with Output("runs resume", json=as_json, quiet=quiet) as out:
        _ = Workspace().runs.open(run_id).record  # the workflow reads it too, but after torch has loaded
        with out.progress() as on_event:
            from cavtool.studio import learn as studio

            asset = studio.resume(run_id, on_event=on_event)
        report(asset, out)


@group.command()
def attach(run_id: RunId, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Show how far a training run is, until it ends; Ctrl-C stops the showing only.

    Example: `cav runs attach twirl-20261122-1432-3f2a`
    """
    from cavtool.events import Stage

    with Output("runs attach", json=as_json, quiet=quiet) as out:
        run, seen, begun = Workspace().runs.open(run_id), 0, False
        with out.progress() as on_event:
            while True:
                status = run.status  # before the events: the last are written before it ends
                events = run.events()
                for event in events[seen:]:
                    begun = begun or isinstance(event, Stage)  # the log of an older version has none
                    if begun:
                        on_event(event)
                seen = len(events)
                if status != "running":
                    break
                time.sleep(0.5)
        failure = None if status == "done" else TrainingError(_how_it_ended(run), hint=_resumed_by(run))
        out.result(_describe(run), [run.record.name] if status == "done" else [], failure=failure)


@group.command()
def stop(run_id: RunId, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Have a training run write a checkpoint and end.

    Example: `cav runs stop twirl-20261122-1432-3f2a`
    """
    with Output("runs stop", json=as_json, quiet=quiet) as out:
        run = Workspace().runs.open(run_id)
        run.stop()
        out.result(_describe(run), [run.id])
        if run.status == "stopped":
            out.hint(_resumed_by(run))


@group.command()
def logs(run_id: RunId, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Print what a training run reported: the losses, and what its process said last.

    Example: `cav runs logs twirl-20261122-1432-3f2a`
    """
    from cavtool.events import Step, to_json

    with Output("runs logs", json=as_json, quiet=quiet) as out:
        run = Workspace().runs.open(run_id)
        steps = [event for event in run.events() if isinstance(event, Step)]
        rows = [
            (
                step.stage,
                f"{step.step}/{step.num_steps}",
                "" if step.loss is None else f"{step.loss:.4f}",
                f"{step.seconds:.1f} s",
            )
            for step in steps
        ]
        out.table(("STAGE", "STEP", "LOSS", "TIME"), rows, map(to_json, steps))
        if run.status != "running":
            out.note(_how_it_ended(run))


@group.command()
def rm(
    run_ids_: Annotated[list[str], typer.Argument(metavar="ID...", help="Runs, or 'twirl-*'.", autocompletion=run_ids)],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete training runs; what they have learned stays.

    Example: `cav runs rm 'twirl-*' --yes`
    """
    with Output("runs rm", json=as_json, quiet=quiet) as out:
        runs = Workspace().runs
        chosen = expand(run_ids_, [run.id for run in runs.list()], "cav runs list")
        if not (yes or out.confirm(f"Delete {', '.join(chosen)} for good?", hint="add `--yes`")):
            out.note("nothing was deleted")
            raise typer.Exit(1)
        removed, failure = do_each(out, "deleted", chosen, lambda run_id: runs.open(run_id).remove())
        out.result({"deleted": removed}, removed, failure=failure)


def _how_it_ended(run: "Run") -> str:
    match run.status:
        case "done":
            return f"run `{run.id}` is done"
        case "failed":
            return f"run `{run.id}` failed: {run.reason}"
        case _:
            last = run.last_output
            return f"run `{run.id}` was stopped after {run.step} steps" + (
                f"; its process said: {last}" if last else ""
            )


def _resumed_by(run: "Run") -> str:
    return f"`cav runs resume {run.id}` goes on with it"


def _describe(run: "Run") -> dict[str, Any]:
    from cavtool.schema import to_table

    record = run.record
    asked = to_table(record)
    return {
        "id": run.id,
        "name": record.name,
        "status": run.status,
        "step": run.step,
        "created": record.created,
        "reason": record.outcome.reason if record.outcome else None,
        "settings": {key: asked[key] for key in ("replace", "clip", "recipe", "revision")},
        "path": str(run.folder),
    }
