"""Fixtures for all tests: a new home, and small models."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.forked import ForkedCav
    from tests.nursery import Nursery

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a script starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores, so one thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new CAV_HOME for every test."""
    monkeypatch.setenv("CAV_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"  # noqa: PT022 the fixture's value


@pytest.fixture
def quick_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preview after learning takes one sampling step."""
    monkeypatch.setattr("cavtool.studio.learn.train.PREVIEW_STEPS", 1)


@pytest.fixture(scope="session")
def _nursery() -> "Iterator[Nursery]":
    from tests import nursery

    with nursery.opened() as opened:
        yield opened


@pytest.fixture
def forked_cav(_nursery: "Nursery", home: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ForkedCav]":
    """`forked_cav("learn", ...)` calls the program in a process forked by one that has imported torch."""
    from tests.forked import ForkedCav

    process = ForkedCav(_nursery, home, tmp_path_factory.mktemp("process"))
    yield process
    process.close()


@pytest.fixture(scope="session")
def modelscope(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model of ModelScope's architecture and format."""
    from tests.small_models import save_modelscope

    return save_modelscope(tmp_path_factory.mktemp("models") / "modelscope")


@pytest.fixture(scope="session")
def animatediff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model of AnimateDiff's architecture and format."""
    from tests.small_models import save_animatediff

    return save_animatediff(tmp_path_factory.mktemp("models") / "animatediff")


@pytest.fixture(scope="session")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mp4 with a motion and an appearance that cav-mini was not trained on."""
    from cavtool import video
    from cavtool.mini import world

    file = tmp_path_factory.mktemp("videos") / "circle.mp4"
    video.encode(world.render(world.reference("circle", "lantern", "white", "moon")), file, fps=world.FPS, scale=4)
    return file
