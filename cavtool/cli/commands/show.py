"""`cav show`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.format import describe
from cavtool.cli.output import Output
from cavtool.cli.params import Name
from cavtool.errors import CavError
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry import Asset

app = new_app()


@command(app, "show")
def show(
    out: Output,
    workspace: Workspace,
    name: Name,
    *,
    path: Annotated[bool, typer.Option("--path", help="Print only the folder.")] = False,
) -> None:
    """Show the record of a motion or absorber.

    On a terminal, also shows frames of the reference and of the preview.

    Example: `cav show twirl`
    """
    from cavtool.registry.record import to_toml

    asset = workspace.registry.get(name)
    out.result(describe(asset), [asset.folder if path else to_toml(asset.record).rstrip()])
    if sys.stdout.isatty() and not (path or out.json):
        _draw_videos(asset, out)


def _draw_videos(asset: "Asset", out: Output) -> None:
    from cavtool.cli.pictures import draw

    for label, video in (("reference", asset.reference), ("preview", asset.preview)):
        if video.exists():
            try:
                draw(label, video)
            except CavError as error:
                out.note(f"cannot show the {label}: {error.message}")
