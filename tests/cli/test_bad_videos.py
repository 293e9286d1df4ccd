"""Files that are no usable video: each command that takes videos refuses them in one line, and leaves nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import ffmpeg
import pytest

from cavtool.video import ffmpeg_exe
from cavtool.workspace import Workspace
from tests.cli.conftest import Cav


def lavfi(path: Path, source: str, **options: object) -> Path:
    job = ffmpeg.input(source, format="lavfi").output(str(path), **options)
    job.run(cmd=ffmpeg_exe(), quiet=True)
    return path


def picture(folder: Path) -> Path:
    return lavfi(folder / "photo.png", "testsrc=size=64x64", vframes=1)


def three_frames(folder: Path) -> Path:
    return lavfi(folder / "short.mp4", "testsrc=size=64x64:rate=8", vframes=3, pix_fmt="yuv420p")


def black(folder: Path) -> Path:
    return lavfi(folder / "black.mp4", "color=black:size=64x64:rate=8:duration=2", pix_fmt="yuv420p")


def sound(folder: Path) -> Path:
    return lavfi(folder / "sound.m4a", "sine=duration=1")


def truncated(folder: Path) -> Path:
    whole = lavfi(folder / "whole.mp4", "testsrc=size=64x64:rate=8:duration=2", pix_fmt="yuv420p").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.mp4"


def text(folder: Path) -> Path:
    (folder / "notes.mp4").write_text("not a video")
    return folder / "notes.mp4"


UNREADABLE: list[tuple[Callable[[Path], Path], str]] = [
    (sound, "`{path}` holds no video"),
    (truncated, "cannot read `{path}`: it is truncated, its index is missing"),
    (text, "cannot read `{path}` as a video"),
    (lambda folder: folder / "nothing.mp4", "no such file: `{path}`"),
]
COMMANDS = {
    "learn": ("learn", "x", "{path}"),
    "absorb": ("absorb", "x", "{path}"),
    "edit": ("edit", "{path}", "a red cat"),
    "eval": ("eval", "{path}"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("make", "message"), UNREADABLE)
def test_what_no_video_can_be_read_from(
    cav: Cav, tmp_path: Path, command: str, make: Callable[[Path], Path], message: str
) -> None:
    check_refused(cav, make(tmp_path), COMMANDS[command], message)


@pytest.mark.parametrize(
    ("command", "make", "message"),
    [
        ("learn", picture, "`{path}` has fewer than two readable frames"),
        ("edit", picture, "`{path}` has fewer than two readable frames"),
        ("eval", picture, "`{path}` has fewer than two readable frames"),
        (
            "learn",
            three_frames,
            "`{path}` shows 3 different frames from 0.00 s to 0.38 s: a motion needs at least four",
        ),
        ("edit", three_frames, "`{path}` has only 3 frames"),
        ("eval", three_frames, "`{path}` has 3 frames"),
        ("learn", black, "`{path}` shows only one colour from 0.00 s to 2.00 s"),
        ("absorb", black, "the sources show only one colour: there is nothing to learn"),
        ("edit", black, "`{path}` shows only one colour"),
        ("eval", black, "`black.mp4` shows only one colour"),
        ("learn", lambda folder: folder, "`{path}` is a folder"),
        ("absorb", lambda folder: folder, "no pictures in `{path}`"),
        ("edit", lambda folder: folder, "`{path}` is a folder"),
        ("eval", lambda folder: folder, "`{path}` is a folder"),
    ],
)
def test_videos_that_show_too_little(
    cav: Cav, tmp_path: Path, command: str, make: Callable[[Path], Path], message: str
) -> None:
    check_refused(cav, make(tmp_path), COMMANDS[command], message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *UNREADABLE,
        (picture, "`{path}` has fewer than two readable frames"),
        (three_frames, "`{path}` has 3 frames"),
        (black, "`black.mp4` shows only one colour"),
    ],
)
def test_a_reference_that_is_no_usable_video(
    cav: Cav, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    good = lavfi(tmp_path / "good.mp4", "testsrc=size=64x64:rate=8:duration=2", pix_fmt="yuv420p")
    check_refused(cav, make(tmp_path), ("eval", str(good), "--reference", "{path}"), message)


def check_refused(cav: Cav, path: Path, command: Sequence[str], message: str) -> None:
    """One error, at most a hint, and nothing written."""
    before = {file.name for file in path.parent.iterdir()}
    done = cav(*(part.format(path=path) for part in command))
    assert done.returncode in {1, 3}
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    error, *rest = lines
    assert error.startswith(f"error: {message.format(path=path)}")
    assert [line.split()[0] for line in rest] == ["hint:"]
    assert not Workspace().registry.names()
    assert {file.name for file in path.parent.iterdir()} - before <= {"home"}
