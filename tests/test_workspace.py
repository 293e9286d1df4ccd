"""A workspace writes to its home only."""

import os
from pathlib import Path

import pytest

from cavtool import video
from cavtool.mini import world
from cavtool.recipes import Blend, LearnRecipe, SampleRecipe
from cavtool.workspace import Workspace
from tests.registry.samples import put


def test_its_parts_are_in_the_folders_of_its_home(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "here")
    assert workspace.registry.root == tmp_path / "here" / "data" / "assets"
    assert workspace.registry.trash == workspace.places.trash
    assert workspace.runs.root == tmp_path / "here" / "state" / "runs"
    assert workspace.history.file == tmp_path / "here" / "state" / "history.jsonl"
    assert workspace.settings.file == tmp_path / "here" / "config" / "config.toml"
    assert workspace.registry is workspace.registry
    assert list(tmp_path.iterdir()) == []


def test_the_default_home_is_cav_home(home: Path) -> None:
    assert Workspace().registry.root == home / "data" / "assets"


def test_the_settings_name_the_shared_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "team", "zoom", seed=3)
    monkeypatch.setenv("CAV_REGISTRY_PATHS", f"{tmp_path / 'team'}{os.pathsep}{tmp_path / 'lab'}")
    assert Workspace().registry.names() == ["zoom"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_preview")
def test_workflows_write_nothing_outside_their_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cavtool.studio.generate import generate
    from cavtool.studio.learn import learn, resume

    (outside := tmp_path / "outside").mkdir()
    monkeypatch.setenv("CAV_HOME", str(outside))
    monkeypatch.chdir(outside)
    file = tmp_path / "circle.mp4"
    video.encode(world.render(world.reference("circle", "lantern", "white", "moon")), file, fps=world.FPS, scale=4)
    workspace = Workspace(tmp_path / "inside")
    recipe = LearnRecipe(prompt="it circles", steps=1, absorber_steps=1, rank=2)
    asset = learn("circle", file, recipe, workspace=workspace)
    (run,) = workspace.runs.list()
    assert resume(run.id, workspace=workspace) == asset
    sample = SampleRecipe("a red cat", motions=(Blend("circle"),), seed=1, steps=1)
    generate(sample, output=tmp_path / "v.gif", workspace=workspace)
    assert workspace.registry.names() == ["circle", "circle-look"]
    assert [entry.recipe.seed for entry in workspace.history.entries()] == [1]
    assert list(outside.iterdir()) == []
