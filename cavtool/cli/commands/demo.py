"""`cav demo`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.cli.params import Overwrite
from cavtool.workspace import Workspace

app = new_app()


@command(app, "demo")
def demo(
    out: Output,
    workspace: Workspace,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the videos.")] = Path("cav-demo"),
    overwrite: Overwrite = False,
) -> None:
    """Learn two motions, mix them, apply the mix to a new subject, and edit a video.

    Takes several minutes on two cores. Motions that an earlier demo learned are used again.

    Example: `cav demo -o my-demo`
    """
    with out.progress() as on_event:
        from cavtool.studio import demo as studio

        made = studio.demo(output, overwrite=overwrite, workspace=workspace, on_event=on_event)
    out.result(asdict(made), [*made.references, *made.plain, *made.videos, made.edited, made.sheet])
    out.hint(f'look at `{made.sheet}`, then try `cav generate "a red cat in the forest" --motion twirl`')
