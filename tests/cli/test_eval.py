"""`cav eval` on real files, good and bad."""

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import constants

from cavtool import video
from cavtool.mini import world
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
    assert head.split()[:4] == ["VIDEO", "MOTION", "PATTERN", "OBJECTS"]
    assert "CAMERA" not in head, "the camera of the reference is at rest"
    assert [line[:13].strip() for line in lines] == ["clip.mp4", "(re-encoded)", "(reversed)", "(first frame)"]
    motion, ceiling, *floors = (float(line[13:].split()[0]) for line in lines)
    assert max(floors) < motion <= ceiling
    assert done.stderr.count("\n") == 1
    assert "hint: compare MOTION and PATTERN with those of the controls" in done.stderr
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_without_a_reference_only_the_video_is_measured(cav: Cav, clips: tuple[Path, Path]) -> None:
    done = cav("eval", str(clips[0]))
    head, row = done.stdout.splitlines()
    assert head.split() == ["VIDEO", "STEADY", "FLICKER", "DYNAMIC"]
    assert row.startswith("clip.mp4  0.9")
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
    assert "too long" not in done.stderr
    row = done.stdout.splitlines()[1]
    assert re.search(r" CLIP \d+\.\d ", row), row
    long = cav("eval", str(clips[0]), "--prompt", f"{'a red cat ' * 40}sits")
    assert long.returncode == 0, long.stderr
    assert "warning: the prompt of `clip.mp4` is too long: CLIP ignores it from" in long.stderr


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
