"""`cav eval`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import motions_and_videos
from cavtool.cli.output import Output
from cavtool.cli.params import Overwrite
from cavtool.events import Event, Note, Warn
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.studio.evaluate import Evaluation

app = new_app()

_COLUMNS = (
    "VIDEO",
    "MOTION",
    "PATTERN",
    "OBJECTS",
    "CAMERA",
    "LEAKAGE",
    "TEXT",
    "STEADY",
    "FLICKER",
    "DYNAMIC",
    "DIVERSITY",
)


@command(app, "eval")
def eval_(
    out: Output,
    workspace: Workspace,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="MOTION|VIDEO...",
            help="Motions (their previews) and video files.",
            autocompletion=motions_and_videos,
        ),
    ],
    *,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="MOTION|VIDEO",
            help="Reference of the motion (default: the clip that the motion was learned from).",
            autocompletion=motions_and_videos,
        ),
    ] = None,
    prompt: Annotated[str, typer.Option(help="Prompt of the videos (default: the one in their metadata).")] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Report, a .png with tracks and curves: file or folder."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how closely videos follow the motion of a reference, and how they look.

    MOTION, OBJECTS and CAMERA compare tracks of points and are 1 for the same motion; in soft or flickering videos,
    where tracks break off, trust PATTERN, which is 1 if the same parts of the frame move at the same times.
    LEAKAGE is 1 for the same colours and layout, TEXT for all of the prompt.
    STEADY and FLICKER are 1 for a still, DYNAMIC is yes for fast movement, DIVERSITY is 0 for copies.

    Examples: `cav eval twirl`, `cav eval ironman-*.mp4 --reference ref.mp4 -o report.png`
    """

    def on_event(event: Event) -> None:
        if isinstance(event, Warn):
            out.warning(event.text)
        elif isinstance(event, Note):
            out.note(event.text)

    from cavtool.studio.evaluate import evaluate
    from cavtool.system.files import output_file

    output = output and output_file(output, "report.png", (".png",))
    found = evaluate(
        targets,
        reference=reference,
        prompt=prompt,
        report=output,
        overwrite=overwrite,
        workspace=workspace,
        on_event=on_event,
    )
    if out.json:
        out.result({"videos": list(map(asdict, found)), "report": output}, ())
        return
    columns = zip(_COLUMNS, *map(_row, found), strict=True)
    measured = [column for column in columns if {*column[1:]} != {"-"}]
    head, *rows = zip(*measured, strict=True)
    out.table(head, rows, ())
    out.hint(_reading(found))


def _row(scores: "Evaluation") -> tuple[str, ...]:
    values = map(_number, (scores.motion, scores.pattern, scores.objects, scores.camera, scores.leakage))
    steady = map(_number, (scores.consistency, scores.flicker))
    return scores.name, *values, _text(scores), *steady, "yes" if scores.is_dynamic else "no", _number(scores.diversity)


def _text(scores: "Evaluation") -> str:
    """The judge's share of 1, or CLIPScore, of which good is about 30: named, lest one be read as the other."""
    if scores.text is not None and (scores.text_by or "").startswith("CLIP"):
        return f"CLIP {scores.text:.1f}"
    return _number(scores.text)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _reading(found: "list[Evaluation]") -> str:
    if all(each.reference is None for each in found):
        return "`--reference VIDEO` compares the motion with that of a video"
    return (
        "compare MOTION and PATTERN with those of the controls in parentheses, of which `(re-encoded)` is about the "
        "best; high LEAKAGE with low TEXT is a copy of the reference"
    )
