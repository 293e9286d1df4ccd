"""`cav learn`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cavtool.cli.command import command, new_app
from cavtool.cli.completion.offers import absorber_names, video_files
from cavtool.cli.format import describe, size_text
from cavtool.cli.output import Output
from cavtool.cli.params import (
    Accumulation,
    Checkpointing,
    Compile,
    Device,
    Model,
    Offload,
    Quantize,
    VaeTiling,
    existing,
)
from cavtool.errors import InvalidInput
from cavtool.recipes import AUTO_MEMORY, AbsorberKind, DType, MemoryOptions, parse_absorber
from cavtool.recipes import LearnRecipe as Recipe
from cavtool.system.processes import num_processes
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry import Asset

app = new_app()


@command(app, "learn")
def learn(
    ctx: typer.Context,
    out: Output,
    workspace: Workspace,
    name: Annotated[str, typer.Argument(help="Name for the motion.")],
    video: Annotated[
        Path,
        typer.Argument(
            callback=existing,
            help="Video with the motion, in any format that ffmpeg reads.",
            autocompletion=video_files,
        ),
    ],
    *,
    prompt: Annotated[
        str, typer.Option(help="Caption of the video, with its motion (default: NAME as words).")
    ] = Recipe.prompt,
    appearance: Annotated[str, typer.Option(help="Caption of the video, without its motion.")] = Recipe.appearance,
    absorber_kind: Annotated[
        AbsorberKind, typer.Option(help="Absorber to train: spatial LoRA, learned token, both (dual) or none.")
    ] = Recipe.absorber_kind,
    absorbers: Annotated[
        list[str] | None,
        typer.Option(
            "--absorber",
            metavar="NAME_OR_FILE[:WEIGHT]",
            help="Existing absorber to load instead of training one; can be repeated.",
            autocompletion=absorber_names,
        ),
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="Clip start in seconds (default: the busiest part).")
    ] = Recipe.start,
    duration: Annotated[
        float | None, typer.Option(help="Clip length in seconds (default: the model's).")
    ] = Recipe.duration,
    steps: Annotated[
        int, typer.Option(help="Training steps of the motion (0: until trials get no better).")
    ] = Recipe.steps,
    absorber_steps: Annotated[int, typer.Option(help="Training steps of the absorber.")] = Recipe.absorber_steps,
    noise_from: Annotated[
        float | None,
        typer.Option(
            help="Share of the timesteps, the least noisy ones, at which the motion is neither trained nor applied, "
            "below 1 (default: the model's)."
        ),
    ] = Recipe.noise_from,
    rank: Annotated[int, typer.Option(help="Rank of the LoRAs.")] = Recipe.rank,
    lr: Annotated[float, typer.Option(help="Learning rate of the motion.")] = Recipe.lr,
    batch_size: Annotated[int, typer.Option(help="Noised copies of the clip per step.")] = Recipe.batch_size,
    recolour: Annotated[
        int, typer.Option(help="Recoloured versions to train on as well: what moves has other colours in them.")
    ] = Recipe.recolour,
    seed: Annotated[int, typer.Option(help="Random seed.")] = Recipe.seed,
    device: Device = Recipe.device,
    dtype: Annotated[DType, typer.Option(help="Compute precision.")] = Recipe.dtype,
    accumulation: Accumulation = AUTO_MEMORY.gradient_accumulation_steps,
    checkpointing: Checkpointing = AUTO_MEMORY.gradient_checkpointing,
    offload: Offload = AUTO_MEMORY.offload,
    quantize: Quantize = AUTO_MEMORY.quantize,
    vae_tiling: VaeTiling = AUTO_MEMORY.vae_tiling,
    compile_: Compile = AUTO_MEMORY.compile,
    model: Model = Recipe.model,
    replace: Annotated[
        bool, typer.Option("--force", "-f", help="Move an existing NAME and NAME-look to the trash.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Train in the background; `cav runs attach` shows the progress.")
    ] = False,
) -> None:
    """Learn a motion from one video.

    Example: `cav learn twirl ref.mp4 --prompt "a white lantern twirls on the moon"`
    """
    recipe = Recipe(
        prompt=prompt,
        appearance=appearance,
        absorber_kind=absorber_kind,
        start=start,
        duration=duration,
        steps=steps,
        absorber_steps=absorber_steps,
        noise_from=noise_from,
        rank=rank,
        lr=lr,
        batch_size=batch_size,
        recolour=recolour,
        seed=seed,
        device=device,
        dtype=dtype,
        model=model,
        absorbers=tuple(map(parse_absorber, absorbers or ())),
        memory=MemoryOptions(accumulation, checkpointing, offload, quantize, vae_tiling, compile_),
    )
    workspace.models.find(recipe.model)  # before torch loads
    if absorbers:
        _check_absorbers(ctx, workspace, recipe)
    workspace.registry.check_leaves(recipe, name, replace=replace)
    if detach and num_processes() > 1:
        raise InvalidInput("`--detach` cannot start several processes", hint="use it without `accelerate launch`")
    if detach:
        _learn_detached(out, workspace, name, video, recipe, replace=replace)
        return
    with out.progress() as on_event:
        from cavtool.studio import learn as studio

        asset = studio.learn(name, video, recipe, replace=replace, workspace=workspace, on_event=on_event)
    report(out, asset)


def _check_absorbers(ctx: typer.Context, workspace: Workspace, recipe: Recipe) -> None:
    """Raise NotFound for a missing absorber, InvalidInput for options about the training of one."""
    from cavtool.registry.absorbers import find_absorber

    for absorber in recipe.absorbers:
        find_absorber(workspace.registry, absorber)
    for name in ("absorber_kind", "absorber_steps"):
        source = ctx.get_parameter_source(name)
        if source and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise InvalidInput(
                f"`{option}` and `--absorber` exclude each other",
                hint="omit one of them: `--absorber` is used in place of a trained one",
            )


def _learn_detached(
    out: Output, workspace: Workspace, name: str, video: Path, recipe: Recipe, *, replace: bool
) -> None:
    from cavtool.cli.commands.runs import still_training

    with out.progress() as on_event:
        from cavtool.core.devices import free_unused
        from cavtool.studio import learn as studio
        from cavtool.studio.learn.detach import start_detached

        run = studio.prepare_run(name, video, recipe, workspace, on_event, replace=replace)[0]
        free_unused()  # of the model, which the new process opens again
    try:
        start_detached(run)
    except KeyboardInterrupt:
        out.note(still_training(run.id))
        raise
    out.result({"run": run.id}, [run.id])
    out.hint(f"`cav runs attach {run.id}` shows the progress, `cav runs stop {run.id}` stops it")


def report(out: Output, asset: "Asset") -> None:
    """Print a learned motion and a command to try next."""
    record = asset.record
    out.result(describe(asset), [f"{record.name}  {record.short_id}  {size_text(asset.size)}"])
    out.hint(f'try `cav generate "ironman" --motion {record.name}`')
