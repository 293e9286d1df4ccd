from pathlib import Path

import pytest
from PIL import Image

from cavtool import video
from cavtool.events import Event, Note, Stage
from cavtool.mini import world
from cavtool.recipes import LearnRecipe
from cavtool.registry.store import Registry
from cavtool.studio import demo as module
from cavtool.studio.learn import learn


@pytest.mark.slow
def test_the_demo_reuses_what_is_learned_and_leaves_videos_and_a_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = LearnRecipe(prompt="it moves", steps=2, absorber_steps=2, rank=2)
    for name, scene in module.REFERENCES.items():
        file = tmp_path / f"{name}.mp4"
        video.encode(world.render(scene), file, fps=8)
        learn(name, file, quick)
    learned = Registry().get("twirl")
    # A removed motion is learned again, even if its absorber still exists.
    Registry().remove("dolly_zoom")
    monkeypatch.setattr(module, "LearnRecipe", lambda **_: quick)
    monkeypatch.setattr(module, "NUM_VIDEOS", 1)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "ironman-twirl-dolly_zoom-1.mp4").write_bytes(b"left by an earlier demo")
    events: list[Event] = []
    made = module.demo(tmp_path / "demo", on_event=events.append)
    assert Registry().get("twirl") == learned
    assert Registry().names() == ["dolly_zoom", "dolly_zoom-look", "twirl", "twirl-look"]
    assert [e.text for e in events if isinstance(e, Note) and "already exists" in e.text] == ["`twirl` already exists"]
    assert {e.name for e in events if isinstance(e, Stage)} == {"absorber", "motion", "preview", "sampling"}
    assert [f.name for f in made.references] == ["reference-twirl.mp4", "reference-dolly_zoom.mp4"]
    assert [f.name for f in made.plain] == ["ironman-1.mp4"]
    assert [f.name for f in made.videos] == [f"ironman-twirl-dolly_zoom-{seed}.mp4" for seed in (1,)]
    for file in made.videos:
        recipe = video.read_recipe(file)
        assert recipe is not None
        assert [m["weight"] for m in recipe["motions"]] == [1.0, 0.7]
    with Image.open(made.sheet) as sheet:
        assert sheet.height > 4 * 128
