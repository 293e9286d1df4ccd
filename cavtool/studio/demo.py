"""The demo, made of the workflows of `cav learn`, `mix`, `generate` and `edit`."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool import video
from cavtool.errors import Conflict, NotFound
from cavtool.events import Note, OnEvent
from cavtool.mini import world
from cavtool.models import find_model
from cavtool.recipes import DEFAULT_MODEL, Blend, EditRecipe, LearnRecipe, MixRecipe, SampleRecipe
from cavtool.studio.edit import edit
from cavtool.studio.generate import file_for, generate
from cavtool.studio.learn import learn
from cavtool.studio.mix import mix
from cavtool.system.checksums import file_sha256
from cavtool.system.files import check_output
from cavtool.workspace import Workspace

# Subjects and motions that are not in cav-mini's training data (cavtool.mini.world holds them out).
REFERENCES = {
    "twirl": world.reference("twirl", "lantern", "white", "moon", layout=3),
    "dolly_zoom": world.reference("dolly zoom", "teapot", "grey", "kitchen", layout=5),
}
MIX, BLENDS = "twirl_zoom", (Blend("twirl"), Blend("dolly_zoom", 0.7))
STEPS = 150  # fewer than `learn` would choose, so that the demo takes minutes
PROMPT, SEED, NUM_VIDEOS = "ironman", 1, 2
EDIT_PROMPT = "a red cat"


@dataclass(frozen=True)
class DemoResult:
    """The files of a demo."""

    references: list[Path]
    plain: list[Path]
    videos: list[Path]
    edited: Path
    sheet: Path


def demo(
    folder: Path,
    *,
    overwrite: bool = False,
    workspace: Workspace | None = None,
    on_event: OnEvent = lambda _: None,
) -> DemoResult:
    """Write two references, learn both motions, mix them, apply the mix to an ironman, and edit a video of him.

    Motions of an earlier demo are used as they are. Raises Conflict, before any work, if another motion has one of the
    names, or if one of the files exists and `overwrite` is not set.
    """
    workspace = workspace or Workspace(on_wait=lambda text: on_event(Note(text)))
    _check_files(folder, overwrite=overwrite)
    _check_names(workspace)
    references = [_write_reference(folder, name) for name in REFERENCES]
    for name, file in zip(REFERENCES, references, strict=True):
        _learn_once(workspace, name, file, on_event)
    recipe = SampleRecipe(PROMPT, seed=SEED, num_videos=NUM_VIDEOS)
    plain = generate(recipe, output=folder, overwrite=True, workspace=workspace, on_event=on_event)
    _mix_once(workspace, on_event)
    moved = replace(recipe, motions=(Blend(MIX),))
    videos = generate(moved, output=folder, overwrite=True, workspace=workspace, on_event=on_event)
    changed = EditRecipe(EDIT_PROMPT, source_prompt=PROMPT)
    edited = edit(
        plain[0], changed, output=folder / "edited.mp4", overwrite=True, workspace=workspace, on_event=on_event
    )
    titles = {
        **{f"{name}\nreference": file for name, file in zip(REFERENCES, references, strict=True)},
        **{f"{PROMPT}\nno motion, seed {seed}": file for seed, file in zip(recipe.seeds, plain, strict=True)},
        **{
            f"{PROMPT}\n{' + '.join(map(str, BLENDS))}, seed {seed}": file
            for seed, file in zip(recipe.seeds, videos, strict=True)
        },
        f"{EDIT_PROMPT}\nseed {SEED}, edited": edited,
    }
    sheet = folder / "sheet.png"
    video.contact_sheet([(title, _frames(file)) for title, file in titles.items()], sheet, scale=1)
    return DemoResult(references, plain, videos, edited, sheet)


def _check_files(folder: Path, *, overwrite: bool) -> None:
    recipe = SampleRecipe(PROMPT, seed=SEED, num_videos=NUM_VIDEOS)
    recipes = (recipe, replace(recipe, motions=(Blend(MIX),)))
    check_output(folder / "sheet.png", overwrite=overwrite)  # creates the folder
    made = [file_for(each, seed, folder) for each in recipes for seed in each.seeds]
    for file in (*(folder / f"reference-{name}.mp4" for name in REFERENCES), *made, folder / "edited.mp4"):
        check_output(file, overwrite=overwrite)


def _check_names(workspace: Workspace) -> None:
    """Raise Conflict if an asset that no demo made has one of the demo's names."""
    registry = workspace.registry
    with TemporaryDirectory() as folder:
        clips = {name: file_sha256(_write_reference(Path(folder), name)) for name in REFERENCES}
    ours = {leaf: clip for name, clip in clips.items() for leaf in LearnRecipe().leaves(name)}
    for name in (*ours, MIX):
        if name not in registry.names():
            continue
        record = registry.get(name).record
        is_ours = record.clip is not None and record.clip.sha256 == ours.get(name)
        if not is_ours and [each.name for each in record.parents] != [blend.name for blend in BLENDS]:
            hint = f"`cav mv {name} NEW-NAME` first, or use another home: `CAV_HOME=FOLDER cav demo`"
            raise Conflict(f"`{name}` exists and was not made by a demo", hint=hint)


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
        look = world.caption(scene.subject, scene.colour, scene.place)
        recipe = LearnRecipe(prompt=scene.caption, appearance=look, steps=STEPS)
        learn(name, file, recipe, replace=True, workspace=workspace, on_event=on_event)  # replaces an old absorber


def _mix_once(workspace: Workspace, on_event: OnEvent) -> None:
    """Mix the motions unless the mix of exactly these exists."""
    parts = [workspace.registry.get(blend.name, "motion").record.content_id for blend in BLENDS]
    try:
        there = workspace.registry.get(MIX, "motion").record
    except NotFound:
        workspace.registry.check_free(MIX)
    else:
        if [parent.content_id for parent in there.parents] == parts:
            on_event(Note(f"`{MIX}` has been mixed already"))
            return
    mix(MIX, MixRecipe(BLENDS), replace=True, workspace=workspace, on_event=on_event)


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
