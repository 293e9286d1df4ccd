"""The public API in use, held by mypy: everything a script needs, with its types. `tests/test_public.py` runs it."""

from collections.abc import Sequence
from pathlib import Path

import cavtool
from cavtool.events import Event


def learn_mix_and_generate(video: Path, folder: Path) -> Sequence[Path]:
    """Learn a motion from a video, mix it with a copy, and generate one video with the mix, all inside a folder."""
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
    workspace.registry.copy("twirl", "spin")
    parts = cavtool.MixRecipe((cavtool.Blend("twirl", 0.5), cavtool.Blend("spin", 0.2)), rank=3)
    mixed: cavtool.Asset = cavtool.mix("both", parts, workspace=workspace, on_event=events.append)
    assert mixed.record.parents[0].weight == 0.7
    blend = cavtool.Blend("both", 0.9, window=(0.0, 0.5))
    asked = cavtool.SampleRecipe("ironman", motions=(blend,), seed=1, steps=2)
    return cavtool.generate(asked, output=folder / "ironman.gif", workspace=workspace)


def absorb_and_reuse(pictures: Path, folder: Path) -> Sequence[Path]:
    """Learn an appearance from a folder of pictures, and use it as a style."""
    workspace = cavtool.Workspace(folder)
    look: cavtool.Asset = cavtool.absorb(
        "lantern", [pictures], cavtool.AbsorbRecipe(prompt="a white lantern", steps=1, rank=2), workspace=workspace
    )
    existing = cavtool.Absorber(look.record.name, 0.5)
    assert cavtool.LearnRecipe(absorbers=(existing,)).leaves("twirl") == ("twirl",)
    asked = cavtool.SampleRecipe("ironman", styles=(existing,), seed=1, steps=1)
    return cavtool.generate(asked, output=folder, workspace=workspace)


def measure(video: Path, reference: Path) -> float:
    """How closely a video follows the motion of another, from 0 to 1."""
    scores: cavtool.Evaluation
    scores, *controls = cavtool.evaluate([video], reference=reference)
    assert [control.kind for control in controls] == ["ceiling", "floor", "floor"]
    return scores.motion or 0.0


def change_subject(video: Path, folder: Path) -> Path:
    """Edit a video, with few sampling steps."""
    recipe = cavtool.EditRecipe(
        "a red cat on the moon", source_prompt="a white lantern on the moon", start=cavtool.EditStart.DDIM, steps=4
    )
    return cavtool.edit(video, recipe, output=folder / "cat.mp4", workspace=cavtool.Workspace(folder))


def look_up(workspace: cavtool.Workspace, name: str) -> str:
    """The prompt of a motion, or why there is none."""
    try:
        record: cavtool.Record = workspace.registry.get(name, "motion").record
    except cavtool.NotFound as error:
        return f"{error.message}; {error.hint}"
    return record.prompt
