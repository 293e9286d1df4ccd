"""`cav show`."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.format import date_text, describe, size_text
from cavtool.cli.output import Output
from cavtool.cli.params import Name
from cavtool.errors import CavError
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry import Asset, Record

app = new_app()


@command(app, "show")
def show(
    out: Output,
    workspace: Workspace,
    name: Name,
    *,
    path: Annotated[bool, typer.Option("--path", help="Print only the folder.")] = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print the whole record as it is on disk.")] = False,
) -> None:
    """Show what a motion or absorber is, and how it was made.

    On a terminal, also shows frames of the reference and of the preview. `--toml` and `--json` print everything.

    Example: `cav show twirl`
    """
    from cavtool.registry.record import to_toml

    asset = workspace.registry.get(name)
    lines = [asset.folder] if path else [to_toml(asset.record).rstrip()] if toml else _summary(asset)
    out.result(describe(asset), lines)
    if sys.stdout.isatty() and not (path or toml or out.json or out.quiet):
        _draw_videos(asset, out)


def _summary(asset: "Asset") -> list[str]:
    shown = [(label, text) for label, text in _lines(asset) if text]
    return [f"{label:<11} {text}" for label, text in shown]


def _lines(asset: "Asset") -> Iterator[tuple[str, str]]:
    record = asset.record
    yield "name", record.name
    yield "kind", f"{record.kind}, {record.origin}"
    yield "prompt", record.prompt
    yield "appearance", record.appearance
    yield "model", f"{record.base_model}, revision {record.revision}" if record.revision else record.base_model
    yield "rank", str(record.rank) if record.rank else ""
    yield "clip", _clip(record)
    yield "made of", ", ".join(f"{each.name}:{each.weight:g}" for each in record.parents)
    yield "absorbers", ", ".join(f"{each.name}:{each.weight:g}" for each in record.absorbers)
    shown = [(key, value) for key, value in record.recipe.items() if key in _SHOWN and value is not False]
    yield "training", ", ".join(f"{key} {value}" for key, value in shown)
    yield "metrics", ", ".join(f"{key} {value:.3g}" for key, value in record.metrics.items())
    yield "tags", " ".join(record.tags)
    yield "note", record.note
    yield "created", date_text(record.created)
    yield "size", size_text(asset.size)
    yield "id", record.short_id
    yield "folder", str(asset.folder)


_SHOWN = ("steps", "lr", "seed", "noise_from", "recolour", "absorber_kind", "absorber_steps", "kind", "for_style")


def _clip(record: "Record") -> str:
    clip = record.clip
    if clip is None:
        return ""
    part = f"{clip.start:.2f} s to {clip.start + clip.duration:.2f} s"
    return f"{part}, {clip.num_frames} frames of {clip.width}x{clip.height}, {clip.fps:g} fps"


def _draw_videos(asset: "Asset", out: Output) -> None:
    from cavtool.cli.pictures import draw

    for label, video in (("reference", asset.reference), ("preview", asset.preview)):
        if video.exists():
            try:
                draw(label, video)
            except CavError as error:
                out.note(f"cannot show the {label}: {error.message}")
