"""A small model, for tests of training that would be the same with any."""

from pathlib import Path

import pytest

from cavtool.models import write_description


@pytest.fixture(scope="session")
def two_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UNet3D of two levels with clips of two frames, which trains in moments."""
    from tests.small_models import save_modelscope

    folder = save_modelscope(tmp_path_factory.mktemp("models") / "two-frames", all_levels=False)
    write_description(folder, num_frames=2, fps=1, enlarge=1, words=["a", "red", "cat"])
    return folder
