"""`cav generate`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

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
    existing_or_none,
)
from cavtool.errors import InvalidInput
from cavtool.recipes import AUTO_MEMORY, MemoryOptions, parse_absorber, parse_blend
from cavtool.recipes import SampleRecipe as Recipe
from cavtool.workspace import Workspace

app = new_app()


@command(app, "generate")
def generate(
    ctx: typer.Context,
    out: Output,
    workspace: Workspace,
    prompt: Annotated[str, typer.Argument(help="Description of the video.", show_default=False)] = "",
    *,
    motions: Motions = None,
    turns: Turns = Recipe.turns,
    styles: Styles = None,
    num_videos: Annotated[
        int, typer.Option("-n", help="Number of videos, with seeds SEED, SEED+1, ...")
    ] = Recipe.num_videos,
    seed: Annotated[int | None, typer.Option(help="Seed of the first video (default: random).")] = Recipe.seed,
    steps: SamplingSteps = Recipe.steps,
    guidance: Guidance = Recipe.guidance,
    negative: Negative = Recipe.negative,
    scale: Annotated[int | None, typer.Option(help="Enlargement factor (default: the model's).")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder, or file: .mp4, .gif, .webp, .png (default: PROMPT-MOTION-SEED.mp4)."
        ),
    ] = None,
    model: Model = Recipe.model,
    device: Device = Recipe.device,
    offload: Offload = AUTO_MEMORY.offload,
    quantize: Quantize = AUTO_MEMORY.quantize,
    vae_tiling: VaeTiling = AUTO_MEMORY.vae_tiling,
    compile_: Compile = AUTO_MEMORY.compile,
    no_metadata: NoMetadata = False,
    like: Annotated[
        Path | None,
        typer.Option(
            callback=existing_or_none,
            help="Video whose recipe to use; options override it.",
            autocompletion=video_files,
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Generate videos from a prompt, with learned motions.

    Examples: `cav generate "ironman" --motion twirl --motion dolly_zoom:0.7`,
    `cav generate --like ironman-twirl-7.mp4 --seed 8`
    """
    values: dict[str, Any] = {
        "prompt": prompt,
        "motions": tuple(map(parse_blend, motions or ())),
        "styles": tuple(map(parse_absorber, styles or ())),
        "num_videos": num_videos,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "negative": negative,
        "model": model,
        "device": device,
        "scale": scale,
        "turns": turns,
    }
    memory = MemoryOptions(offload=offload, quantize=quantize, vae_tiling=vae_tiling, compile=compile_)
    recipe = _changed(_recipe_in(like), _on_command_line(ctx, values)) if like else Recipe(**values)
    recipe = replace(recipe, memory=memory)
    workspace.models.find(recipe.model)  # before torch loads
    for motion in recipe.motions:
        workspace.registry.get(motion.name, "motion")
    if recipe.styles:
        from cavtool.registry.absorbers import find_absorber

        for style in recipe.styles:
            find_absorber(workspace.registry, style)
    with out.progress() as on_event:
        from cavtool.studio import generate as studio

        files = studio.generate(
            recipe,
            output=output,
            metadata=not no_metadata,
            overwrite=overwrite,
            workspace=workspace,
            on_event=on_event,
        )
    out.result({"files": list(map(str, files))}, files)


def _recipe_in(video: Path) -> Recipe:
    from cavtool.schema import read
    from cavtool.video import read_recipe

    if (values := read_recipe(video)) is None:
        hint = "`cav generate` writes one into each video unless `--no-metadata` is given"
        raise InvalidInput(f"`{video}` contains no recipe of `cav`", hint=hint)
    if "edit" in values:
        hint = "`cav history` lists it, and `cav history --again N` makes it again"
        raise InvalidInput(f"cannot use the recipe in `{video}`: `cav edit` made it", hint=hint)
    hint = "it was not written by `cav generate`"
    # The number of videos and the device are not properties of a video, and the file is untrusted.
    values = {key: value for key, value in values.items() if key not in {"num_videos", "device", "dtype"}}
    return read(values, Recipe, f"the recipe in `{video}`", error=InvalidInput, hint=hint)


def _on_command_line(ctx: typer.Context, values: dict[str, Any]) -> dict[str, Any]:
    """The values that are not defaults."""
    sources = {name: ctx.get_parameter_source(name) for name in values}
    return {name: values[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _changed(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """The recipe with these values; without the model's revision if the model is another one."""
    return replace(recipe, **values, revision="" if "model" in values else recipe.revision)
