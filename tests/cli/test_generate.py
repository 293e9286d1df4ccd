"""`cav generate` and `cav history` on the real cav-mini."""

import json
import shlex
from pathlib import Path

import pytest

from cavtool import video
from cavtool.models import find_model
from cavtool.registry import Registry
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav
from tests.forked import ForkedCav

pytestmark = pytest.mark.slow


def test_the_written_recipe_gives_the_same_video(
    cav: Cav, forked_cav: ForkedCav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("-n", "2", "--seed", "4", "--steps", "1", "--guidance", "2", "--negative", "blue", "--turns")
    done = forked_cav("generate", "ironman", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ironman-4.mp4", "ironman-5.mp4"]
    assert "makes 64x64; written 4 times as large" in done.stderr
    assert "1/1" in done.stderr
    recipe = video.read_recipe(Path("ironman-5.mp4"))
    assert recipe is not None
    assert {key: recipe[key] for key in ("prompt", "seed", "steps", "guidance", "negative", "turns", "model")} == {
        "prompt": "ironman",
        "seed": 5,
        "steps": 1,
        "guidance": 2.0,
        "negative": "blue",
        "turns": True,
        "model": "cav-mini",
    }
    again = cav("generate", "--like", "ironman-5.mp4", "-o", "again.mp4", "--json")
    *_, result = map(json.loads, again.stdout.splitlines())
    assert (result["ok"], result["data"]) == (True, {"files": ["again.mp4"]})
    assert Path("again.mp4").read_bytes() == Path("ironman-5.mp4").read_bytes()


def test_files_are_overwritten_only_on_request(cav: Cav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (existing := tmp_path / "ironman-4.mp4").touch()
    refused = cav("generate", "ironman", "--seed", "4", "--steps", "1")
    assert (refused.returncode, "`ironman-4.mp4` already exists" in refused.stderr) == (4, True)
    assert cav("generate", "ironman", "--seed", "4", "--steps", "1", "--force").returncode == 0
    assert existing.stat().st_size > 0


def test_scale_format_and_metadata(cav: Cav, tmp_path: Path) -> None:
    file = tmp_path / "small.gif"
    options = ("--seed", "4", "--steps", "1", "--scale", "1", "--no-metadata", "-o", str(file))
    assert cav("generate", "ironman", *options).stdout == f"{file}\n"
    assert video.probe(file).width == 64
    assert video.read_recipe(file) is None


def test_generating_imports_neither_training_nor_judge(cav_process: Cav, tmp_path: Path) -> None:
    options = ("--steps", "1", "-o", str(tmp_path / "v.mp4"))
    done = cav_process("generate", "ironman", *options, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "torch" in loaded
    assert not {"cavtool.core.trainer", "cavtool.studio.learn", "cavtool.mini.judge"} & loaded


def test_history_lists_videos_and_generates_them_again(cav: Cav, forked_cav: ForkedCav, tmp_path: Path) -> None:
    first, again = tmp_path / "first.mp4", tmp_path / "again.mp4"
    made = cav("generate", "a red cat", "--steps", "1", "--seed", "3", "-o", str(first))
    assert made.returncode == 0, made.stderr
    (row,) = cav("history").stdout.splitlines()[1:]
    assert row.split()[0] == "1"
    assert row.endswith(f"a red cat  -        3     {first}")
    done = forked_cav("history", "--again", "1", "-o", str(again))
    assert (done.returncode, done.stdout) == (0, f"{again}\n"), done.stderr
    assert again.read_bytes() == first.read_bytes()
    assert [cav("history", "--again", number).returncode for number in ("9", "0")] == [3, 3]
    refused = cav("history", "--again", "1", "-o", str(again))
    assert (refused.returncode, "pass `--force`" in refused.stderr) == (4, True)
    assert cav("history", "--again", "1", "-o", str(again), "--force").returncode == 0
    assert len(cav("history").stdout.splitlines()) == 4


def test_the_scale_is_part_of_the_recipe(cav: Cav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = cav("generate", "a red cat", "--steps", "1", "--seed", "3", "--scale", "2", "-o", "sub/made.mp4")
    assert (made.returncode, made.stdout) == (0, "sub/made.mp4\n"), made.stderr
    assert cav("generate", "--like", "sub/made.mp4", "-o", "like").stdout == "like/a-red-cat-3.mp4\n"
    assert cav("history", "--again", "1", "-o", "again.mp4").returncode == 0
    assert [video.probe(Path(file)).width for file in ("like/a-red-cat-3.mp4", "again.mp4")] == [128, 128]
    assert cav("history", "-q").stdout.splitlines()[0] == str(tmp_path / "sub" / "made.mp4")
    assert cav("history", "clear").returncode == 2
    assert cav("history", "clear", "--yes").stderr == "note: 3 entries forgotten; the videos are kept\n"
    assert cav("history").stdout.count("\n") == 1


def test_what_cannot_be_written_is_refused_before_sampling(cav: Cav, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for line, code, message in (
        (("--scale", "200"), 2, "`--scale 200` is too large: 12800x12800"),
        (("-o", str(tmp_path / "file" / "x.mp4")), 6, "cannot write to"),
        (("-o", str(tmp_path / "clip.mov")), 2, "cannot write `clip.mov`: unknown suffix"),
        (("-o", str(tmp_path / f"{'a' * 300}.mp4")), 2, "is too long"),
        (("--negative", "a" * 10_000), 2, "the negative prompt has 10000 characters"),
    ):
        done = cav("generate", "a cat", "--steps", "1", *line)
        assert (done.returncode, message in done.stderr, "sampling" in done.stderr) == (code, True, False), done.stderr


@pytest.mark.usefixtures("quick_preview")
def test_a_motion_of_another_cav_mini_is_refused_with_the_command_that_learns_it_again(
    cav: Cav, home: Path, circle: Path
) -> None:
    asset = put_motion(home, "twirl", videos={"reference.mp4": circle})
    refused = cav("generate", "ironman", "--motion", "twirl")
    assert refused.returncode == 1
    error, hint = refused.stderr.splitlines()
    assert error == "error: `twirl` was learned on another version of `cav-mini` and does not fit this one"
    program, *command = shlex.split(hint.removeprefix("hint: learn it again from the clip that is kept: ").strip("`"))
    assert program == "cav"
    assert str(asset.reference) in command
    again = cav(*command, "--steps", "1", "--absorber-steps", "1", "--rank", "2", "--batch-size", "1")
    assert again.returncode == 0, again.stderr
    learned = Registry(home / "data" / "assets").get("twirl")
    assert learned.record.fingerprint == find_model("cav-mini").fingerprint
    assert (learned.record.prompt, learned.record.appearance) == (asset.record.prompt, asset.record.appearance)
    put_motion(home, "lost")
    assert "learn it again, or use the folder of" in cav("generate", "ironman", "--motion", "lost").stderr
