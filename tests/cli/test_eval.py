"""`cav eval` on real files, good and bad."""

import json
import re
from pathlib import Path

import ffmpeg
import pytest
from huggingface_hub import constants

from cavtool import video
from cavtool.mini import world
from cavtool.video import ffmpeg_exe
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav
from tests.small_models import save_clip


def film(path: Path, motion: str, subject: str) -> Path:
    video.encode(world.render(world.reference(motion, subject, "red", "forest")), path, fps=8)
    return path


@pytest.fixture
def clips(tmp_path: Path) -> tuple[Path, Path]:
    """A clip and a reference of the same motion."""
    return film(tmp_path / "clip.mp4", "circle", "cat"), film(tmp_path / "ref.mp4", "circle", "rocket")


def test_the_motion_of_a_video_is_between_the_floors_and_the_ceiling_below_it(
    cav: Cav, clips: tuple[Path, Path], tmp_path: Path
) -> None:
    clip, reference = clips
    done = cav("eval", str(clip), "--reference", str(reference), "-o", str(tmp_path / "report.png"))
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split()[:4] == ["VIDEO", "MOTION", "OBJECTS", "CAMERA"]
    assert [line[:23].strip() for line in lines] == [
        "clip.mp4",
        "reference re-encoded",
        "reference reversed",
        "reference's first frame",
    ]
    motion, ceiling, *floors = (float(line[23:].split()[0]) for line in lines)
    assert max(floors) < motion <= ceiling
    assert done.stderr.count("\n") == 1
    assert "hint: read MOTION, OBJECTS and CAMERA between" in done.stderr
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_without_a_reference_only_the_video_is_measured(cav: Cav, clips: tuple[Path, Path]) -> None:
    done = cav("eval", str(clips[0]))
    (row,) = done.stdout.splitlines()[1:]
    assert row.split()[:6] == ["clip.mp4", "-", "-", "-", "-", "-"]
    assert "`--reference VIDEO` compares" in done.stderr
    answer = json.loads(cav("eval", str(clips[0]), "--json").stdout)
    assert (answer["ok"], answer["command"]) == (True, "eval")
    (measured,) = answer["data"]["videos"]
    assert (measured["kind"], measured["motion"], measured["is_dynamic"]) == ("video", None, True)


def test_a_score_of_clip_is_not_taken_for_one_of_the_judge(
    cav: Cav, clips: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_clip(tmp_path / "models--openai--clip-vit-large-patch14")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    done = cav("eval", str(clips[0]), "--prompt", "a red cat")
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[1]
    assert re.search(r" CLIP \d+\.\d ", row), row


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (picture, "fewer than two readable frames"),
        (three_frames, "has 3 frames"),
        (black, "nothing can be followed in `black.mp4`"),
        (sound, "holds no video"),
        (truncated, "`{path}`: it is cut short, its index is missing"),
        (text, "cannot read `{path}` as a video"),
        (lambda folder: folder, "`{path}` is a folder"),
        (lambda folder: folder / "nothing.mp4", "no such file: `{path}`"),
    ],
)
def test_a_video_that_cannot_be_measured_is_one_clear_line(
    cav: Cav, tmp_path: Path, make: object, message: str
) -> None:
    assert callable(make)
    path = make(tmp_path)
    done = cav("eval", str(path))
    assert done.returncode in {1, 3}
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert message.format(path=path) in first
    assert all(line.startswith("hint: ") for line in rest)


def test_unknown_names_and_other_reports_are_refused_before_any_work(cav: Cav, home: Path, tmp_path: Path) -> None:
    put_motion(home, "twirl")
    unknown = cav("eval", "twril")
    assert unknown == (3, "", "error: no motion and no file named `twril`\nhint: did you mean `twirl`?\n")
    clip = film(tmp_path / "clip.mp4", "circle", "cat")
    refused = cav("eval", str(clip), "-o", "report.pdf")
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (
        2,
        "error: cannot write `report.pdf`: unknown suffix",
    )
    assert cav("eval").returncode == 2
