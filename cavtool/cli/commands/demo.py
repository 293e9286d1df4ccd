"""`cav demo`: the whole tool in a few minutes."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet

app = typer.Typer(rich_markup_mode=None)


@app.command()
def demo(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")] = Path("cav-demo"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """See it all: learn two motions, put both on an ironman.

    Takes less than five minutes on two cores. Motions that are there already are not learned again.

    Example: `cav demo -o my-demo`
    """
    with Output("demo", json=as_json, quiet=quiet) as out:
        with out.progress() as on_event:
            from cavtool.studio import demo as studio

            made = studio.demo(output, on_event=on_event)
        out.result(asdict(made), [*made.references, *made.plain, *made.videos, made.sheet])
        out.hint(f'look at `{made.sheet}`, then try `cav generate "a red cat in the forest" --motion twirl`')
