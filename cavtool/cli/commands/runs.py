"""`cav runs`: training runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import dropwhile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.batch import expand, for_each
from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import run_ids
from cavtool.cli.format import date_text
from cavtool.cli.output import Output
from cavtool.cli.params import Checkpointing, DryRun, Offload, Yes
from cavtool.errors import CavError, TrainingError
from cavtool.recipes import Quantize
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.events import Event, Step
    from cavtool.runs import Run

app = new_app("List, watch, stop, resume or delete training runs.")

RunId = Annotated[
    str,
    typer.Argument(
        metavar="id",
        help="Id of a run, as `cav runs list` shows it, or a prefix of one; `latest` is the newest.",
        autocompletion=run_ids,
    ),
]
RunIds = Annotated[
    list[str], typer.Argument(metavar="ids", help="Ids of runs, or globs: 'twirl-*'.", autocompletion=run_ids)
]


@command(app, "runs list")
def list_(out: Output, workspace: Workspace) -> None:
    """List training runs, the newest first.

    Example: `cav runs list`
    """
    for failure in workspace.runs.broken():
        out.warning(failure.message)
    data = [_describe(run) for run in workspace.runs.list()]
    rows = [(run["id"], run["name"], run["status"], str(run["step"]), date_text(run["created"])) for run in data]
    out.table(("ID", "MOTION", "STATUS", "STEP", "CREATED"), rows, data)


@command(app, "runs resume")
def resume(
    out: Output,
    workspace: Workspace,
    run_id: RunId,
    *,
    checkpointing: Checkpointing = None,
    offload: Offload = None,
    quantize: Annotated[
        Quantize | None, typer.Option(help="Precision of the base model's linear layers (default: the run's).")
    ] = None,
) -> None:
    """Resume a training run from its last checkpoint.

    Options that are not given stay as the run has them. On a CPU, the weights are the same as without the interruption.

    Example: `cav runs resume twirl-20261122-1432-3f2a`
    """
    from cavtool.cli.commands.learn import report

    run = workspace.runs.open(run_id)
    asked = run.record.recipe.memory  # read before torch loads, to fail early
    given: dict[str, Any] = {"gradient_checkpointing": checkpointing, "offload": offload, "quantize": quantize}
    memory = replace(asked, **{name: value for name, value in given.items() if value is not None})
    with out.progress() as on_event:
        from cavtool.studio import learn as studio

        asset = studio.resume(run.id, memory=memory, workspace=workspace, on_event=on_event)
    report(out, asset)


@command(app, "runs attach")
def attach(out: Output, workspace: Workspace, run_id: RunId) -> None:
    """Show the progress of a training run until it ends.

    Ctrl-C stops the display, not the run.

    Example: `cav runs attach twirl-20261122-1432-3f2a`
    """
    from cavtool.events import Stage

    run = workspace.runs.open(run_id)
    try:
        with out.progress(shows_memory=False) as on_event:
            # A resumed run may begin with the log of an older version, which did not log stages.
            for event in dropwhile(lambda event: not isinstance(event, Stage), _follow(run)):
                on_event(event)
    except KeyboardInterrupt:
        out.note(still_training(run.id))
        raise
    done = run.status == "done"
    failure = None if done else TrainingError(_ending(run), hint=_how_to_resume(run))
    out.result(_describe(run), [run.record.name] if done else [], failure=failure)


@command(app, "runs stop")
def stop(out: Output, workspace: Workspace, run_id: RunId) -> None:
    """Stop a training run; it writes a checkpoint first.

    Example: `cav runs stop twirl-20261122-1432-3f2a`
    """
    run = workspace.runs.open(run_id)
    run.stop()
    out.result(_describe(run), [run.id])
    if run.status == "stopped":
        out.hint(_how_to_resume(run))


@command(app, "runs logs")
def logs(
    out: Output,
    workspace: Workspace,
    run_id: RunId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for further losses until the run ends.")] = False,
) -> None:
    """Print the losses of a training run, and how it ended.

    Examples: `cav runs logs twirl-20261122-1432-3f2a`, `cav runs logs latest -f`
    """
    from cavtool.events import Step, to_json

    run = workspace.runs.open(run_id)
    steps = (event for event in (_follow(run) if follow else run.events()) if isinstance(event, Step))
    if follow:
        try:
            for step in steps:
                out.line(to_json(step), "  ".join(_row(step)))
        except KeyboardInterrupt:
            out.note(still_training(run.id))
            raise
    else:
        listed = list(steps)
        out.table(("STAGE", "STEP", "LOSS", "TIME"), map(_row, listed), map(to_json, listed), name=None)
    if run.status != "running":
        out.note(_ending(run))


@command(app, "runs rm")
def rm(out: Output, workspace: Workspace, run_ids_: RunIds, *, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Delete training runs permanently; learned motions are kept.

    Example: `cav runs rm 'twirl-*' --yes`
    """
    runs = workspace.runs
    chosen = expand(run_ids_, runs.ids(), "cav runs list")
    chosen = list(dict.fromkeys(_full_id(workspace, run_id) for run_id in chosen))
    there = [run_id for run_id in chosen if run_id in runs.ids()]
    if there and not (yes or dry_run):
        out.confirm(f"Delete {', '.join(there)} permanently?", if_declined="nothing was deleted")
    done = "would be deleted" if dry_run else "deleted"
    act: Callable[[str], object] = runs.open if dry_run else lambda run_id: runs.open(run_id).remove()
    deleted, failed, failure = for_each(out, done, chosen, act)
    out.result({"deleted": deleted, "failed": failed, "dry_run": dry_run}, deleted, failure=failure)


def _full_id(workspace: Workspace, run_id: str) -> str:
    """The whole id of a run; unchanged if there is none or it is ambiguous, which is then reported."""
    with suppress(CavError):
        return workspace.runs.open(run_id).id
    return run_id


def still_training(run_id: str) -> str:
    """The note for a user who stopped watching a training, which continues."""
    return f"the training continues: `cav runs attach {run_id}` shows it, `cav runs stop {run_id}` stops it"


def _follow(run: "Run") -> Iterator["Event"]:
    """The events of a run, as they are logged, until it ends."""
    num_seen, running = 0, True
    while running:
        running = run.status == "running"  # before reading the events, so that the last ones are read too
        events = run.events()
        yield from events[num_seen:]
        num_seen = len(events)
        if running:
            time.sleep(0.5)


def _row(step: "Step") -> tuple[str, ...]:
    loss = "" if step.loss is None else f"{step.loss:.4f}"
    return step.stage, f"{step.step}/{step.num_steps}", loss, f"{step.seconds:.1f} s"


def _ending(run: "Run") -> str:
    match run.status:
        case "done":
            return f"run `{run.id}` is done"
        case "failed":
            return f"run `{run.id}` failed: {run.reason}"
        case _:
            last = f"; last output: {run.last_output}" if run.last_output else ""
            return f"run `{run.id}` was stopped after {run.step} steps{last}"


def _how_to_resume(run: "Run") -> str:
    return f"continue with `cav runs resume {run.id}`"


def _describe(run: "Run") -> dict[str, Any]:
    from cavtool.schema import to_table

    record = run.record
    table = to_table(record)
    return {
        "id": run.id,
        "name": record.name,
        "status": run.status,
        "step": run.step,
        "created": record.created,
        "reason": record.outcome.reason if record.outcome else None,
        "settings": {key: table[key] for key in ("replace", "clip", "recipe", "revision")},
        "path": str(run.folder),
    }
