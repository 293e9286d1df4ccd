"""Arguments and options that several commands share."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.completion.offers import absorber_names, asset_names, devices, model_names, motion_names
from cavtool.errors import NotFound
from cavtool.recipes import Quantize as Quantization

Name = Annotated[str, typer.Argument(help="Name of a motion or absorber.", autocompletion=asset_names)]
Names = Annotated[
    list[str], typer.Argument(help="Names of motions and absorbers, or globs: 'test-*'.", autocompletion=asset_names)
]
Device = Annotated[
    str, typer.Option(help="Device: cpu, cuda, mps, or auto (the best available).", autocompletion=devices)
]
Model = Annotated[
    str,
    typer.Option(
        help="Base model: a name from `cav models list`, a pipeline folder, or OWNER/NAME.", autocompletion=model_names
    ),
]
Replace = Annotated[bool, typer.Option("--force", "-f", help="Replace an existing one, which goes to the trash.")]
Overwrite = Annotated[bool, typer.Option("--force", "-f", help="Replace existing files.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")]


def existing(path: Path) -> Path:
    """Raise NotFound for a missing file; a URL or `-` passes, because later checks explain these better."""
    # A Path would raise for a name that is too long.
    if not (os.path.exists(path) or str(path) == "-" or re.match(r"\w{2,}:/", str(path))):  # noqa: PTH110
        raise NotFound(f"no such file: `{path}`", hint="check the path")
    return path


def all_existing(paths: list[Path]) -> list[Path]:
    """Raise NotFound if one of the files is missing."""
    return [existing(path) for path in paths]


def existing_or_none(path: Path | None) -> Path | None:
    """Raise NotFound for a missing file."""
    return path and existing(path)


Motions = Annotated[
    list[str] | None,
    typer.Option(
        "--motion",
        "-m",
        metavar="NAME[:WEIGHT][@A-B]",
        help="Motion to apply, from A to B of the sampling (0 to 1; default: where it was trained); can be repeated.",
        autocompletion=motion_names,
    ),
]
Turns = Annotated[bool, typer.Option("--turns", help="Motions take turns, a sampling step each, instead of adding up.")]
Styles = Annotated[
    list[str] | None,
    typer.Option(
        "--style",
        metavar="NAME_OR_FILE[:WEIGHT]",
        help="Absorber whose appearance to use; can be repeated. Its token replaces `*` in the prompt, or is appended.",
        autocompletion=absorber_names,
    ),
]
SamplingSteps = Annotated[int | None, typer.Option(help="Sampling steps (default: the model's).")]
Guidance = Annotated[float | None, typer.Option(help="Guidance scale (default: the model's).")]
Negative = Annotated[str, typer.Option(help="Negative prompt.")]
NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Do not write the recipe into the file.")]

Accumulation = Annotated[
    int,
    typer.Option(
        "--gradient-accumulation-steps", help="Parts in which a batch is trained (0: chosen from the free memory)."
    ),
]
Checkpointing = Annotated[
    bool | None,
    typer.Option(
        "--gradient-checkpointing/--no-gradient-checkpointing",
        help="Save memory by computing activations twice (default: if memory is short).",
        show_default=False,
    ),
]
Offload = Annotated[
    bool | None,
    typer.Option(
        "--offload/--no-offload",
        help="Keep weights in CPU memory until used: slow (default: if memory is short).",
        show_default=False,
    ),
]
Quantize = Annotated[Quantization, typer.Option(help="Precision of the base model's linear layers.")]
VaeTiling = Annotated[bool, typer.Option("--vae-tiling", help="Encode and decode frames in tiles, to save memory.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the model with torch.compile: slow to start.")]
