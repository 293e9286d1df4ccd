"""A preview of one step and a small model, for tests of training whose subject is neither."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from cavtool.models import write_description
from cavtool.recipes import SampleRecipe


@pytest.fixture
def quick_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preview takes one sampling step instead of 25."""
    monkeypatch.setattr("cavtool.studio.learn.train.SampleRecipe", partial(SampleRecipe, steps=1))


@pytest.fixture(scope="session")
def two_frames(modelscope: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small ModelScope with clips of two frames, one training step of which takes about a tenth of a second."""
    folder = Path(shutil.copytree(modelscope, tmp_path_factory.mktemp("models") / "two-frames"))
    write_description(folder, num_frames=2, fps=1, enlarge=1, words=["a", "red", "cat"])
    return folder
