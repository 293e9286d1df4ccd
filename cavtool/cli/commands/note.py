"""`cav note`."""

from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.cli.params import Name
from cavtool.workspace import Workspace

app = new_app()


@command(app, "note")
def note(
    out: Output,
    workspace: Workspace,
    name: Name,
    text: Annotated[str | None, typer.Argument(help="New note; '' clears it (default: show the note).")] = None,
) -> None:
    """Show or set the note of a motion or absorber.

    Example: `cav note twirl "too fast: try --duration 3"`
    """
    registry = workspace.registry
    asset = registry.get(name) if text is None else registry.annotate(name, note=text)
    out.result({"note": asset.record.note}, [asset.record.note] if asset.record.note else [])
