"""`cav generate`: videos of a prompt, with motions."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cavtool.cli.completion.offers import motion_names, video_files
from cavtool.cli.output import Output
from cavtool.cli.params import Device, Json, Model, Quiet
from cavtool.errors import InvalidInput
from cavtool.recipes import SampleRecipe as Recipe
from cavtool.recipes import parse_blend
from cavtool.workspace import Workspace

app = typer.Typer(rich_markup_mode=None)


@app.command()
def generate(
    ctx: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to show.", show_default=False)] = "",
    *,
    motions: Annotated[
        list[str] | None,
        typer.Option(
            "--motion", "-m", metavar="NAME[:WEIGHT]", help="A motion; may be repeated.", autocompletion=motion_names
        ),
    ] = None,
    num_videos: Annotated[
        int, typer.Option("-n", help="How many videos, of seeds SEED, SEED+1, ...")
    ] = Recipe.num_videos,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same video; drawn if not given.")] = Recipe.seed,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = Recipe.steps,
    guidance: Annotated[float, typer.Option(help="How closely to follow the prompt.")] = Recipe.guidance,
    negative: Annotated[str, typer.Option(help="What not to show.")] = Recipe.negative,
    scale: Annotated[int | None, typer.Option(min=1, help="Enlarge the frames; else as suits the model.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A file (.mp4, .gif, .webp, .png) or folder; else ./PROMPT-MOTION-SEED.mp4."
        ),
    ] = None,
    model: Model = Recipe.model,
    device: Device = Recipe.device,
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Leave the recipe out of the file.")] = False,
    like: Annotated[
        Path | None,
        typer.Option(
            exists=True, help="Take the recipe out of a video; other options change it.", autocompletion=video_files
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate videos of a prompt, with motions that were learned.

    Examples: `cav generate "ironman" --motion twirl --motion dolly_zoom:0.7`,
    `cav generate --like ironman-twirl-7.mp4 --seed 8`
    """
    with Output("generate", json=as_json, quiet=quiet) as out:
        asked: dict[str, Any] = {
            "prompt": prompt,
            "motions": tuple(map(parse_blend, motions or ())),
            "num_videos": num_videos,
            "seed": seed,
            "steps": steps,
            "guidance": guidance,
            "negative": negative,
            "model": model,
            "device": device,
        }
        recipe = _changed(_recipe_in(like), _given(ctx, asked)) if like else Recipe(**asked)
        workspace = Workspace()
        for motion in recipe.motions:  # the workflow asks too, but after torch has loaded
            workspace.registry.get(motion.name, "motion")
        with out.progress() as on_event:
            from cavtool.studio import generate as studio

            files = studio.generate(
                recipe,
                output=output,
                scale=scale,
                metadata=not no_metadata,
                overwrite=overwrite,
                workspace=workspace,
                on_event=on_event,
            )
        out.result({"files": list(map(str, files))}, files)


def _given(ctx: typer.Context, values: dict[str, Any]) -> dict[str, Any]:
    """Those of `values` that are on the command line; the others are defaults."""
    sources = {name: ctx.get_parameter_source(name) for name in values}
    return {name: values[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _changed(recipe: Recipe, given: dict[str, Any]) -> Recipe:
    """With what was given instead; of another model the video's revision says nothing."""
    return replace(recipe, **given, revision="" if "model" in given else recipe.revision)


def _recipe_in(video: Path) -> Recipe:
    from cavtool.schema import read
    from cavtool.video import read_recipe

    if (values := read_recipe(video)) is None:
        raise InvalidInput(f"no recipe in `{video}`", hint="`cav generate` puts one in unless told `--no-metadata`")
    hint = "it was not written by `cav generate`"
    return read(values, Recipe, f"the recipe in `{video}`", error=InvalidInput, hint=hint)
