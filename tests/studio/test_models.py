"""Workflows on a model that was pulled: how it is used, and what is written down of it."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from cavtool import video
from cavtool.models.store import Pointer
from cavtool.recipes import AbsorberKind, Blend, DType, LearnRecipe, SampleRecipe
from cavtool.studio.generate import generate
from cavtool.studio.learn import learn
from cavtool.workspace import Workspace
from tests.hub import COMMIT


@pytest.mark.slow
def test_a_pulled_model_is_used_as_it_was_made_and_its_commit_is_kept(
    circle: Path, modelscope: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--some--scope" / "snapshots" / COMMIT
    shutil.copytree(modelscope, folder)
    (folder / "cav.json").write_text('{"num_frames": 4, "steps": 2, "guidance": 1.5}')
    workspace = Workspace()
    workspace.models.save(Pointer(name="some/scope", source="some/scope", commit=COMMIT, family="unet3d"))
    recipe = LearnRecipe(
        prompt="it circles", steps=1, rank=2, absorber_kind=AbsorberKind.NONE, dtype=DType.FP32, model="some/scope"
    )
    record = learn("circle", circle, recipe, workspace=workspace).record
    assert (record.base_model, record.commit, record.recipe["noise_from"]) == ("some/scope", COMMIT, 0.5)
    assert record.clip is not None
    assert record.clip.num_frames == 4
    asked = SampleRecipe("a red cat", (Blend("circle"),), seed=1, model="some/scope")
    (file,) = generate(asked, output=tmp_path / "v.gif", workspace=workspace)
    made = video.read_recipe(file)
    assert made is not None
    assert (made["steps"], made["guidance"], made["commit"]) == (2, 1.5, COMMIT)
    assert [entry.recipe.steps for entry in workspace.history.entries()] == [2]
