from pathlib import Path

import pytest

from cavtool import video
from cavtool.mini import world


@pytest.fixture(scope="session")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mp4 with a motion and an appearance that cav-mini was not trained on."""
    file = tmp_path_factory.mktemp("videos") / "circle.mp4"
    video.encode(world.render(world.reference("circle", "lantern", "white", "moon")), file, fps=world.FPS, scale=4)
    return file
