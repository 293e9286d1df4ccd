"""The public API in use, held by mypy: everything a script needs, with its types. `tests/test_public.py` runs it."""

from collections.abc import Sequence
from pathlib import Path

import cavtool
from cavtool.events import Event


def learn_and_generate(video: Path, folder: Path) -> Sequence[Path]:
    """Learn a motion from a video and generate one video with it, all inside a folder."""
    workspace = cavtool.Workspace(folder)
    recipe = cavtool.LearnRecipe(
        prompt="a white lantern twirls on the moon",
        appearance="a white lantern on the moon",
        absorber_kind=cavtool.AbsorberKind.S_LORA,
        steps=2,
        absorber_steps=2,
        rank=2,
    )
    events: list[Event] = []
    motion: cavtool.Asset = cavtool.learn("twirl", video, recipe, workspace=workspace, on_event=events.append)
    assert motion.record.name == "twirl"
    assert any(isinstance(event, cavtool.Step) for event in events)
    names: list[str] = workspace.registry.names()
    assert names == ["twirl", "twirl-look"]
    asked = cavtool.SampleRecipe("ironman", motions=(cavtool.Blend("twirl", 0.7),), seed=1, steps=2)
    return cavtool.generate(asked, output=folder / "ironman.gif", workspace=workspace)


def change_subject(video: Path, folder: Path) -> Path:
    """Edit a video, with one sampling step."""
    recipe = cavtool.EditRecipe(
        "a red cat on the moon", source_prompt="a white lantern on the moon", start=cavtool.EditStart.DDIM, steps=1
    )
    return cavtool.edit(video, recipe, output=folder / "cat.mp4", workspace=cavtool.Workspace(folder))


def look_up(workspace: cavtool.Workspace, name: str) -> str:
    """The prompt of a motion, or why there is none."""
    try:
        record: cavtool.Record = workspace.registry.get(name, "motion").record
    except cavtool.NotFound as error:
        return f"{error.message}; {error.hint}"
    return record.prompt
