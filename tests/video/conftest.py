import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cavtool import video
from cavtool.video import Frames
from cavtool.video.ffmpeg import supports
from tests.video.films import FFMPEG, H264, Make, clock


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write frames to a file with the real ffmpeg, once per session for each name."""
    folder = tmp_path_factory.mktemp("films")

    def film(name: str, frames: Frames | Path, *options: str, before: Sequence[str] = (), fps: float = 8) -> Path:
        path = folder / name
        if path.exists():
            return path
        if isinstance(frames, Path):
            source, data = [*before, "-i", str(frames)], b""
        else:
            size = f"{frames.shape[2]}x{frames.shape[1]}"
            source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), *before, "-i", "pipe:"]
            data = frames.tobytes()
        subprocess.run([FFMPEG, "-v", "error", *source, *options, str(path)], input=data, check=True)
        return path

    return film


@pytest.fixture
def film(make: Make) -> Path:
    return make("h264.mp4", clock(16), *H264)


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    """Look for an ffmpeg anew in this test, and again afterwards."""
    video.ffmpeg_exe.cache_clear()
    supports.cache_clear()
    yield
    video.ffmpeg_exe.cache_clear()
    supports.cache_clear()
