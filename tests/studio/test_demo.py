import dataclasses
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.errors import Conflict
from cavtool.events import Event, Note, Stage
from cavtool.mini import world
from cavtool.recipes import EditRecipe, LearnRecipe, SampleRecipe
from cavtool.registry import Clip
from cavtool.studio import demo as module
from cavtool.studio.session import open_session
from cavtool.system.checksums import file_sha256
from cavtool.workspace import Workspace
from tests.core.test_lora import random_state
from tests.registry.samples import CLIP, put
from tests.studio.test_generate import record


def clip_of(name: str, folder: Path) -> Clip:
    """The clip that the demo learns this motion from."""
    file = folder / "reference.mp4"
    video.encode(world.render(module.REFERENCES[name]), file, fps=world.FPS, scale=4)
    return dataclasses.replace(CLIP, sha256=file_sha256(file))


@pytest.mark.parametrize("name", ["twirl", "dolly_zoom-look", "twirl_zoom"])
def test_an_asset_that_no_demo_made_is_not_used(tmp_path: Path, name: str) -> None:
    put(Workspace().registry.root, name, 1, kind="absorber" if "look" in name else "motion")
    with pytest.raises(Conflict, match=f"`{name}` exists and was not made by a demo"):
        module.demo(tmp_path / "demo")
    assert not list((tmp_path / "demo").iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("quick_preview")
def test_the_demo_reuses_learned_motions_and_writes_videos_and_a_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, weights = open_session("cav-mini").backbone, tmp_path / "weights"
    lora.save(random_state(backbone, backbone.temporal_targets(), 0), weights, {"format": "pt"})
    twirl = dataclasses.replace(record("twirl"), recipe={"noise_from": 0.5}, clip=clip_of("twirl", tmp_path))
    learned = Workspace().registry.put(twirl, {"weights.safetensors": weights})
    # The motion `dolly_zoom` was removed but its absorber was not: the demo learns both again.
    absorber = dataclasses.replace(record("dolly_zoom-look"), kind="absorber", clip=clip_of("dolly_zoom", tmp_path))
    Workspace().registry.put(absorber, {"weights.safetensors": weights})
    quick = LearnRecipe(prompt="it moves", steps=2, absorber_steps=1, rank=2, batch_size=1)
    monkeypatch.setattr(module, "LearnRecipe", lambda **_: quick)
    monkeypatch.setattr(module, "SampleRecipe", partial(SampleRecipe, steps=2))
    monkeypatch.setattr(module, "EditRecipe", partial(EditRecipe, steps=2))
    monkeypatch.setattr(module, "NUM_VIDEOS", 1)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "ironman-twirl_zoom-1.mp4").write_bytes(b"left by an earlier demo")
    events: list[Event] = []
    with pytest.raises(Conflict, match=r"ironman-twirl_zoom-1\.mp4` already exists"):
        module.demo(tmp_path / "demo")
    made = module.demo(tmp_path / "demo", overwrite=True, on_event=events.append)
    assert Workspace().registry.get("twirl") == learned
    assert Workspace().registry.names() == ["dolly_zoom", "dolly_zoom-look", "twirl", "twirl_zoom"]
    assert Workspace().registry.get("dolly_zoom-look").record.content_id != learned.record.content_id
    assert [e.text for e in events if isinstance(e, Note) and "been" in e.text] == ["`twirl` has been learned already"]
    assert {e.name for e in events if isinstance(e, Stage)} == {
        "absorber",
        "motion",
        "preview",
        "sampling",
        "inverting",
    }
    assert [f.name for f in made.references] == ["reference-twirl.mp4", "reference-dolly_zoom.mp4"]
    assert [f.name for f in made.plain] == ["ironman-1.mp4"]
    assert [f.name for f in made.videos] == [f"ironman-twirl_zoom-{seed}.mp4" for seed in (1,)]
    for file in made.videos:
        recipe = video.read_recipe(file)
        assert recipe is not None
        assert [m["name"] for m in recipe["motions"]] == ["twirl_zoom"]
    assert [parent.weight for parent in Workspace().registry.get("twirl_zoom").record.parents] == [1.0, 0.7]
    assert video.probe(made.edited).width == 256
    with Image.open(made.sheet) as sheet:
        assert sheet.height > 5 * 128
