"""Options that several commands share."""

from typing import Annotated

import typer

from cavtool.cli.completion.offers import model_names

Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: the best there is.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what came of it, and what went wrong.")]
Model = Annotated[
    str, typer.Option(help="Base model: a name, or the folder of a diffusers pipeline.", autocompletion=model_names)
]
