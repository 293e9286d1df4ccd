"""Edited frames written with the size, frame rate, length and sound of their source."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from cavtool import video
from cavtool.errors import NotFound, RequirementError
from cavtool.video.probe import sound_codec
from tests.video.films import CORNERS, FFMPEG, H264, LOSSY, Make, clock, corners, read_clock

TONE = ("-f", "lavfi", "-t", "2", "-i", "sine=frequency=440:sample_rate=44100")


def packets_of_sound(path: Path) -> list[str]:
    """The checksums of the packets of the sound."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "framecrc", "-"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split(",")[-1] for line in listing.splitlines() if not line.startswith("#")]


def film_with_tone(folder: Path, name: str, *sound: str, fps: float = 24, num_frames: int = 48) -> Path:
    """Two seconds of the clock, with a tone."""
    frames, path = clock(num_frames, 64, 96, tick=4), folder / name
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "96x64", "-r", str(fps), "-i", "pipe:", *TONE]
    command = [FFMPEG, "-v", "error", *source, *H264, *sound, str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


@pytest.mark.parametrize(
    ("name", "sound", "written"),
    [
        ("aac.mp4", ("-c:a", "aac"), "aac"),
        ("mp3.mkv", ("-c:a", "libmp3lame"), "mp3"),
        ("pcm.mov", ("-c:a", "pcm_s16le"), "aac"),
    ],
)
def test_sound_is_copied_or_encoded(tmp_path: Path, name: str, sound: tuple[str, ...], written: str) -> None:
    source = film_with_tone(tmp_path, name, *sound)
    made = tmp_path / "made.mp4"
    video.encode_like(source, clock(16), made)
    assert sound_codec(made) == written
    if name == "aac.mp4":
        assert packets_of_sound(made) == packets_of_sound(source)


@pytest.mark.parametrize(("fps", "num_frames"), [(8, 16), (24, 48), (29.97, 60), (5, 10)])
def test_rate_length_and_size_are_those_of_the_source_and_frames_come_in_time(
    tmp_path: Path, fps: float, num_frames: int
) -> None:
    source = film_with_tone(tmp_path, "source.mp4", "-an", fps=fps, num_frames=num_frames)
    frames = clock(16, 32, 48)
    made = tmp_path / "made.mp4"
    video.encode_like(source, frames, made, recipe={"edit": {"prompt": "a cat"}})
    before, after = video.probe(source), video.probe(made)
    assert (after.width, after.height, after.num_frames) == (96, 64, num_frames)
    assert (after.fps, after.duration) == pytest.approx((before.fps, before.duration), abs=0.01)
    assert sound_codec(made) == ""
    assert video.read_recipe(made) == {"edit": {"prompt": "a cat"}}
    shown = video.decode(made, start=0, duration=after.duration, num_frames=num_frames, width=96, height=64)
    step = before.duration / 16
    expected = [min(15, int(k / fps / step + 1e-6)) for k in range(num_frames)]
    assert read_clock(shown) == expected
    assert np.abs(corners(shown[0]) - CORNERS).max() <= 2 * LOSSY


def test_an_odd_size_becomes_even(make: Make, tmp_path: Path) -> None:
    source = make("odd.gif", clock(8, 51, 97))
    video.encode_like(source, clock(16), tmp_path / "made.mp4")
    media = video.probe(tmp_path / "made.mp4")
    assert (media.width, media.height) == (98, 52)


def test_a_failure_leaves_the_file_that_was_there(film: Path, tmp_path: Path) -> None:
    (tmp_path / "there.mp4").write_bytes(b"precious")
    with pytest.raises(NotFound):
        video.encode_like(tmp_path / "gone.mp4", clock(16), tmp_path / "there.mp4")
    with pytest.raises(RequirementError, match="cannot write"):
        video.encode_like(film, clock(16), tmp_path / "no folder" / "made.mp4")
    assert (tmp_path / "there.mp4").read_bytes() == b"precious"
    assert [file.name for file in tmp_path.iterdir()] == ["there.mp4"]


def test_the_whole_frame_is_decoded_at_another_aspect_ratio(film: Path) -> None:
    frames = video.decode_whole(film, num_frames=8, width=64, height=64)
    assert frames.shape == (8, 64, 64, 3)
    assert read_clock(frames) == list(range(0, 16, 2))
    assert np.abs(corners(frames[0]) - CORNERS).max() <= 2 * LOSSY
