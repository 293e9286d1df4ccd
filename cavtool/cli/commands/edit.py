"""`cav edit`."""

from pathlib import Path
from typing import Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import video_files
from cavtool.cli.output import Output
from cavtool.cli.params import (
    Compile,
    Device,
    Guidance,
    Model,
    Motions,
    Negative,
    NoMetadata,
    Offload,
    Overwrite,
    Quantize,
    SamplingSteps,
    Styles,
    Turns,
    VaeTiling,
    existing,
)
from cavtool.recipes import AUTO_MEMORY, EditStart, MemoryOptions, parse_absorber, parse_blend
from cavtool.recipes import EditRecipe as Recipe
from cavtool.workspace import Workspace

app = new_app()


@command(app, "edit")
def edit(
    out: Output,
    workspace: Workspace,
    video: Annotated[
        Path,
        typer.Argument(callback=existing, help="Video, in any format that ffmpeg reads.", autocompletion=video_files),
    ],
    prompt: Annotated[str, typer.Argument(help="Description of the edited video.", show_default=False)],
    *,
    motions: Motions = None,
    turns: Turns = Recipe.turns,
    styles: Styles = None,
    source_prompt: Annotated[str, typer.Option(help="Description of the video as it is.")] = Recipe.source_prompt,
    strength: Annotated[
        float | None, typer.Option(help="How much may change, from 0 to 1 (default: 0.9, or 1 for a motion with ddim).")
    ] = Recipe.strength,
    start: Annotated[
        EditStart, typer.Option(help="Start from the video's inverted latents, or from noised ones.")
    ] = Recipe.start,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the noise of `--start noise` (default: random).")
    ] = Recipe.seed,
    steps: SamplingSteps = Recipe.steps,
    guidance: Guidance = Recipe.guidance,
    negative: Negative = Recipe.negative,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder, or file: .mp4 (default: VIDEO-PROMPT-MOTION-SEED.mp4)."),
    ] = None,
    model: Model = Recipe.model,
    device: Device = Recipe.device,
    offload: Offload = AUTO_MEMORY.offload,
    quantize: Quantize = AUTO_MEMORY.quantize,
    vae_tiling: VaeTiling = AUTO_MEMORY.vae_tiling,
    compile_: Compile = AUTO_MEMORY.compile,
    no_metadata: NoMetadata = False,
    overwrite: Overwrite = False,
) -> None:
    """Change what a video shows, with a prompt and learned motions.

    Size, frame rate, length and sound remain those of the video.

    Example: `cav edit cat.mp4 "a blue rocket in the forest" --source-prompt "a red cat in the forest"`
    """
    recipe = Recipe(
        prompt=prompt,
        source_prompt=source_prompt,
        motions=tuple(map(parse_blend, motions or ())),
        turns=turns,
        styles=tuple(map(parse_absorber, styles or ())),
        start=start,
        strength=strength,
        negative=negative,
        seed=seed,
        steps=steps,
        guidance=guidance,
        model=model,
        device=device,
        memory=MemoryOptions(offload=offload, quantize=quantize, vae_tiling=vae_tiling, compile=compile_),
    )
    workspace.models.find(recipe.model)  # before torch loads
    for motion in recipe.motions:
        workspace.registry.get(motion.name, "motion")
    with out.progress() as on_event:
        from cavtool.studio import edit as studio

        file = studio.edit(
            video,
            recipe,
            output=output,
            metadata=not no_metadata,
            overwrite=overwrite,
            workspace=workspace,
            on_event=on_event,
        )
    out.result({"files": [str(file)]}, [file])
