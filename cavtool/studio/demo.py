"""The demo, made of the workflows of `cav learn` and `cav generate`."""

from dataclasses import dataclass, replace
from pathlib import Path

from cavtool import video
from cavtool.errors import NotFound
from cavtool.events import Note, OnEvent
from cavtool.mini import world
from cavtool.models import find_model
from cavtool.recipes import DEFAULT_MODEL, Blend, LearnRecipe, SampleRecipe
from cavtool.studio.generate import generate
from cavtool.studio.learn import learn
from cavtool.workspace import Workspace

# Subjects and motions that are not in cav-mini's training data (cavtool.mini.world holds them out).
REFERENCES = {
    "twirl": world.reference("twirl", "lantern", "white", "moon", layout=3),
    "dolly_zoom": world.reference("dolly zoom", "teapot", "grey", "kitchen", layout=5),
}
BLENDS = (Blend("twirl"), Blend("dolly_zoom", 0.7))
PROMPT, SEED, NUM_VIDEOS = "ironman", 1, 2


@dataclass(frozen=True)
class DemoResult:
    """The files of a demo."""

    references: list[Path]
    plain: list[Path]
    videos: list[Path]
    sheet: Path


def demo(folder: Path, *, workspace: Workspace | None = None, on_event: OnEvent = lambda _: None) -> DemoResult:
    """Write two references, learn or reuse both motions, apply both to an ironman; overwrites its own files."""
    workspace = workspace or Workspace(on_wait=lambda text: on_event(Note(text)))
    folder.mkdir(parents=True, exist_ok=True)
    references = [_write_reference(folder, name) for name in REFERENCES]
    for name, file in zip(REFERENCES, references, strict=True):
        _learn_once(workspace, name, file, on_event)
    recipe = SampleRecipe(PROMPT, seed=SEED, num_videos=NUM_VIDEOS)
    plain = generate(recipe, output=folder, overwrite=True, workspace=workspace, on_event=on_event)
    moved = replace(recipe, motions=BLENDS)
    videos = generate(moved, output=folder, overwrite=True, workspace=workspace, on_event=on_event)
    titles = {
        **{f"{name}\nreference": file for name, file in zip(REFERENCES, references, strict=True)},
        **{f"{PROMPT}\nno motion, seed {seed}": file for seed, file in zip(recipe.seeds, plain, strict=True)},
        **{
            f"{PROMPT}\n{' + '.join(map(str, BLENDS))}, seed {seed}": file
            for seed, file in zip(recipe.seeds, videos, strict=True)
        },
    }
    sheet = folder / "sheet.png"
    video.contact_sheet([(title, _frames(file)) for title, file in titles.items()], sheet, scale=1)
    return DemoResult(references, plain, videos, sheet)


def _write_reference(folder: Path, name: str) -> Path:
    file = folder / f"reference-{name}.mp4"
    video.encode(world.render(REFERENCES[name]), file, fps=world.FPS, scale=4)
    return file


def _learn_once(workspace: Workspace, name: str, file: Path, on_event: OnEvent) -> None:
    try:
        workspace.registry.get(name, "motion")
        on_event(Note(f"`{name}` has been learned already"))
    except NotFound:
        workspace.registry.check_free(name)
        scene = REFERENCES[name]
        recipe = LearnRecipe(prompt=scene.caption, appearance=world.caption(scene.subject, scene.colour, scene.place))
        learn(name, file, recipe, replace=True, workspace=workspace, on_event=on_event)  # replaces an old absorber


def _frames(file: Path) -> video.Frames:
    clip = find_model(DEFAULT_MODEL).clip
    return video.decode(
        file,
        start=0,
        duration=clip.seconds,
        num_frames=clip.num_frames,
        width=clip.width * 2,
        height=clip.height * 2,
    )
