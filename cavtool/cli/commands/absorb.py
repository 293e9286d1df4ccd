"""`cav absorb`."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import source_files
from cavtool.cli.format import describe, size_text
from cavtool.cli.output import Output
from cavtool.cli.params import Accumulation, Checkpointing, Device, Model, Offload, Replace, all_existing
from cavtool.recipes import ABSORBER_STEPS, AUTO_MEMORY, STYLE_STEPS, AbsorberKind, MemoryOptions
from cavtool.recipes import AbsorbRecipe as Recipe
from cavtool.workspace import Workspace

app = new_app()


@command(app, "absorb")
def absorb(
    out: Output,
    workspace: Workspace,
    name: Annotated[str, typer.Argument(help="Name for the absorber.")],
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            callback=all_existing,
            help="Videos, pictures, or folders of pictures.",
            autocompletion=source_files,
        ),
    ],
    *,
    prompt: Annotated[str, typer.Option(help="Caption of what all sources show, without motion.")] = Recipe.prompt,
    kind: Annotated[
        Literal["dual", "s-lora", "textinv"], typer.Option(help="Spatial LoRA, learned token, or both (dual).")
    ] = "dual",
    for_style: Annotated[
        bool,
        typer.Option(
            "--for-style",
            help="Train it to show this appearance in new places (for `--style`), not to keep it out of a motion.",
        ),
    ] = Recipe.for_style,
    steps: Annotated[
        int | None, typer.Option(help=f"Training steps (default: {ABSORBER_STEPS}, {STYLE_STEPS} with --for-style).")
    ] = Recipe.steps,
    rank: Annotated[int, typer.Option(help="Rank of the spatial LoRA.")] = Recipe.rank,
    seed: Annotated[int, typer.Option(help="Random seed.")] = Recipe.seed,
    model: Model = Recipe.model,
    device: Device = Recipe.device,
    accumulation: Accumulation = AUTO_MEMORY.gradient_accumulation_steps,
    checkpointing: Checkpointing = AUTO_MEMORY.gradient_checkpointing,
    offload: Offload = AUTO_MEMORY.offload,
    replace: Replace = False,
) -> None:
    """Learn an appearance from videos or pictures.

    `cav learn --absorber` uses it and learns only the motion. One that was trained `--for-style` is for
    `cav generate --style`, which shows its subject or look in other places.

    Example: `cav absorb lantern pictures/ --prompt "a white lantern" --for-style`
    """
    recipe = Recipe(
        prompt=prompt,
        kind=AbsorberKind(kind),
        for_style=for_style,
        steps=steps,
        rank=rank,
        seed=seed,
        model=model,
        device=device,
        memory=MemoryOptions(accumulation, checkpointing, offload),
    )
    workspace.registry.check_free(name, "absorber", replace=replace)  # before torch loads
    try:
        with out.progress() as on_event:
            from cavtool.studio import absorb as studio

            asset = studio.absorb(name, sources, recipe, replace=replace, workspace=workspace, on_event=on_event)
    except KeyboardInterrupt:
        out.note("no absorber was kept")
        raise
    record = asset.record
    out.result(describe(asset), [f"{record.name}  {record.short_id}  {size_text(asset.size)}"])
    shown = shlex.quote(f"{prompt} in the snow")
    generate, learn = f"cav generate {shown} --style {record.name}", f"cav learn NAME VIDEO --absorber {record.name}"
    out.hint(f"try `{generate if for_style else learn}`")
