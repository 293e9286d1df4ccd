"""`cav learn`: a motion from one video."""

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cavtool.cli.commands.assets import describe, size_text
from cavtool.cli.completion.offers import video_files
from cavtool.cli.output import Output
from cavtool.cli.params import Device, Json, Model, Quiet
from cavtool.errors import Conflict, TrainingError
from cavtool.recipes import AbsorberKind, DType
from cavtool.recipes import LearnRecipe as Recipe
from cavtool.system import platform
from cavtool.workspace import Workspace

if TYPE_CHECKING:
    from cavtool.registry import Asset
    from cavtool.runs import Run

app = typer.Typer(rich_markup_mode=None)


@app.command()
def learn(
    name: Annotated[str, typer.Argument(help="What to call the motion.")],
    video: Annotated[
        Path,
        typer.Argument(exists=True, help="The video that shows it: any file ffmpeg reads.", autocompletion=video_files),
    ],
    *,
    prompt: Annotated[
        str, typer.Option(help="What the video shows, with its motion; NAME if not given.")
    ] = Recipe.prompt,
    appearance: Annotated[str, typer.Option(help="What the video shows, without its motion.")] = Recipe.appearance,
    absorber_kind: Annotated[AbsorberKind, typer.Option(help="What keeps the looks out.")] = Recipe.absorber_kind,
    start: Annotated[
        float | None, typer.Option(help="Where the clip begins, in seconds; else where most moves.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(help="How long the clip is, in seconds; else as the model's.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps of the motion.")] = Recipe.steps,
    absorber_steps: Annotated[int, typer.Option(help="Training steps of the absorber.")] = Recipe.absorber_steps,
    noise_from: Annotated[
        float, typer.Option(help="Learn and use it at the noisiest timesteps only, from this share on; 0 is all.")
    ] = Recipe.noise_from,
    rank: Annotated[int, typer.Option(help="Rank of the LoRAs.")] = Recipe.rank,
    lr: Annotated[float, typer.Option(help="Learning rate of the motion.")] = Recipe.lr,
    batch_size: Annotated[int, typer.Option(help="Noised copies of the clip in a step.")] = Recipe.batch_size,
    seed: Annotated[int, typer.Option(help="The same seed, the same motion.")] = Recipe.seed,
    device: Device = Recipe.device,
    dtype: Annotated[DType, typer.Option(help="Arithmetic.")] = Recipe.dtype,
    model: Model = Recipe.model,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace NAME and NAME-look; what was there goes to the trash.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Train in the background: `cav runs attach` shows how far it is.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn a motion from one video.

    Example: `cav learn twirl ref.mp4 --prompt "a white lantern twirls on the moon"`
    """
    with Output("learn", json=as_json, quiet=quiet) as out:
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
            seed=seed,
            device=device,
            dtype=dtype,
            model=model,
        )
        workspace = Workspace(on_wait=out.note)
        for wanted in recipe.leaves(name):  # the workflow asks too, but after torch has loaded
            workspace.registry.check_free(wanted, replace=replace)
        with out.progress() as on_event:
            from cavtool.studio import learn as studio

            if detach:
                run, _ = studio.prepare_run(name, video, recipe, workspace, on_event, replace=replace)
            else:
                asset = studio.learn(name, video, recipe, replace=replace, on_event=on_event)
        if detach:
            drive_in_the_background(run)
            out.result({"run": run.id}, [run.id])
            out.hint(f"`cav runs attach {run.id}` shows how far it is, `cav runs stop {run.id}` stops it")
        else:
            report(asset, out)


def drive_in_the_background(run: "Run") -> None:
    """Go on with a run in a process of its own, which outlives this one; what it says goes into the run's folder.

    Raises TrainingError if that process ends before it has begun, Conflict if the run is deleted meanwhile.
    """
    command = [sys.executable, "-P", "-m", "cavtool", "runs", "resume", run.id]
    with (run.folder / "output.log").open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **platform.APART)
    while run.exists and run.driver is None and run.status != "done":  # from here on it can be attached to
        if process.poll() is not None:
            raise TrainingError(f"run `{run.id}` did not start: {run.last_output}")
        time.sleep(0.2)
    process.returncode = 0  # nobody's to wait for: else Python warns of it
    if not run.exists:
        raise Conflict(f"run `{run.id}` was deleted before it began")


def report(asset: "Asset", out: Output) -> None:
    """Say what has been learned, and what to do with it."""
    record = asset.record
    out.result(describe(asset), [f"{record.name}  {record.short_id}  {size_text(asset.size)}"])
    out.hint(f'try `cav generate "ironman" --motion {record.name}`')
