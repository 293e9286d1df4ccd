"""`cav doctor`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import model_names
from cavtool.cli.output import Output
from cavtool.errors import CavError, InvalidInput
from cavtool.models import CATALOGUE
from cavtool.recipes import LearnRecipe
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.models.plan import Task

app = new_app()

_TOTAL = "total (estimate)"
_CARDS = (8, 12, 16, 24)  # GB
_LIBRARIES = 1  # GB
_TASKS: "tuple[Task, ...]" = ("learn", "generate")


@command(app, "doctor")
def doctor(
    out: Output,
    workspace: Workspace,
    *,
    plan: Annotated[str, typer.Option(metavar="learn|generate", help="Only estimate the memory that this needs.")] = "",
    model: Annotated[
        str, typer.Option(help="Base model of --plan (default: the setting).", autocompletion=model_names)
    ] = "",
) -> None:
    """Check this machine: ffmpeg, torch, memory, models.

    Also checks the libraries, settings, disks, registry and runs, and says how to fix problems. The exit code is 1 if
    anything is broken.

    Examples: `cav doctor`, `cav doctor --plan learn --model zeroscope`
    """
    if model and not plan:
        raise InvalidInput("`--model` is for `--plan`", hint="`cav doctor --plan learn --model NAME`")
    if plan:
        _show_plan(out, workspace, plan, model or str(workspace.settings.get("model").value))
        return
    from cavtool.doctor import examine

    findings = list(examine(workspace))
    if not out.json:
        out.table(("CHECK", "STATE", "FOUND"), [(each.what, each.state, each.found) for each in findings], ())
    remedies = [f"{each.what}: {each.remedy}" for each in findings if each.remedy]
    broken = [each.what for each in findings if each.state == "broken"]
    failure = CavError(f"broken: {', '.join(broken)}") if broken else None
    out.result({"findings": list(map(asdict, findings))}, remedies, failure=failure)


def _show_plan(out: Output, workspace: Workspace, name: str, model: str) -> None:
    """Print the memory that a task needs: part by part if the model is on this machine, else as the catalogue says."""
    task = next((task for task in _TASKS if task == name), None)
    if task is None:
        raise InvalidInput(f"cannot plan `{name}`", hint=f"use one of {', '.join(_TASKS)}")
    entry, pointer = CATALOGUE.get(model), workspace.models.pointer(model)
    if entry and not entry.folder and not pointer:
        needs = entry.needs
        data: list[dict[str, Any]] = [{"part": _TOTAL, "bf16_gb": getattr(needs, task), "fp32_gb": None}]
        if task == "learn":
            data.append(
                {"part": f"{_TOTAL} with --gradient-checkpointing", "bf16_gb": needs.learn_least, "fp32_gb": None}
            )
        out.note(f"`{model}` is not downloaded: these figures are the catalogue's")
    else:
        from cavtool.models.plan import plan

        rows = plan(workspace.models.find(model), task, batch_size=LearnRecipe.batch_size, rank=LearnRecipe.rank)
        data = [{"part": row.part, "bf16_gb": row.bf16 / 1e9, "fp32_gb": row.fp32 / 1e9} for row in rows]
    cells = [(each["part"], _gigabytes(each["bf16_gb"]), _gigabytes(each["fp32_gb"])) for each in data]
    out.table(("PART", "BF16", "FP32"), cells, data)
    if task == "learn":
        out.note(f"with `--batch-size {LearnRecipe.batch_size}`; the activations grow with it")
        out.note(f"`cav learn` enables the options that the free memory requires: {_options_by_card(data)}")
    out.note("accelerators compute in bf16 by default, and hold about 1 GB more for the libraries")


def _options_by_card(data: Sequence[Mapping[str, Any]]) -> str:
    """The last memory option that each size of card needs, in bf16."""
    totals = [row for row in data if row["part"].startswith(_TOTAL)]
    found = []
    for size in _CARDS:
        fitting = (row["part"] for row in totals if row["bf16_gb"] <= size - _LIBRARIES)
        part = next(fitting, "perhaps --offload").removeprefix(f"{_TOTAL} with ")
        found.append(f"{size} GB {'none' if part == _TOTAL else part}")
    return ", ".join(found)


def _gigabytes(size: float | None) -> str:
    return "" if size is None else f"{size:.1f} GB" if size >= 0.1 else f"{1000 * size:.1f} MB"
