"""A small model, for tests of training that would be the same with any."""

import shutil
from pathlib import Path

import pytest

from cavtool.models import write_description


@pytest.fixture(scope="session")
def two_frames(modelscope: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small ModelScope with clips of two frames, one training step of which takes about a tenth of a second."""
    folder = Path(shutil.copytree(modelscope, tmp_path_factory.mktemp("models") / "two-frames"))
    write_description(folder, num_frames=2, fps=1, enlarge=1, words=["a", "red", "cat"])
    return folder
