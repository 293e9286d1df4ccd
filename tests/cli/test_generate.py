"""`cav generate` as a user runs it, on the real cav-mini."""

import json
from pathlib import Path

import pytest

from cavtool import video
from tests.cli.conftest import Cav

pytestmark = pytest.mark.slow


def test_it_writes_where_it_says_and_likes_what_it_wrote(
    cav: Cav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cav("generate", "ironman", "-n", "2", "--seed", "4", "--steps", "1", "--guidance", "2", "--negative", "blue")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ironman-4.mp4", "ironman-5.mp4"]
    assert "makes 64x64; written 4 times as large" in done.stderr
    assert "1/1" in done.stderr
    told = video.read_recipe(Path("ironman-5.mp4"))
    assert told is not None
    assert {key: told[key] for key in ("prompt", "seed", "steps", "guidance", "negative", "model")} == {
        "prompt": "ironman",
        "seed": 5,
        "steps": 1,
        "guidance": 2.0,
        "negative": "blue",
        "model": "cav-mini",
    }
    again = cav("generate", "--like", "ironman-5.mp4", "-o", "again.mp4", "--json")
    *_, result = map(json.loads, again.stdout.splitlines())
    assert (result["ok"], result["data"]) == (True, {"files": ["again.mp4"]})
    assert Path("again.mp4").read_bytes() == Path("ironman-5.mp4").read_bytes()
    refused = cav("generate", "ironman", "--seed", "4", "--steps", "1")
    assert (refused.returncode, "`ironman-4.mp4` exists" in refused.stderr) == (4, True)
    options = ("--seed", "4", "--steps", "1", "--scale", "1", "--no-metadata", "--overwrite", "-o", "small.gif")
    assert cav("generate", "ironman", *options).stdout.split() == ["small.gif"]
    assert video.probe(Path("small.gif")).width == 64
    assert video.read_recipe(Path("small.gif")) is None


def test_generating_loads_neither_training_nor_judge(cav: Cav, tmp_path: Path) -> None:
    options = ("--steps", "1", "-o", str(tmp_path / "v.mp4"))
    done = cav("generate", "ironman", *options, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "torch" in loaded
    assert not {"cavtool.core.trainer", "cavtool.studio.learn", "cavtool.mini.judge"} & loaded


def test_history_lists_it_and_makes_it_again(cav: Cav, tmp_path: Path) -> None:
    first, again = tmp_path / "first.mp4", tmp_path / "again.mp4"
    made = cav("generate", "a red cat", "--steps", "1", "--seed", "3", "-o", str(first))
    assert made.returncode == 0, made.stderr
    (row,) = cav("history").stdout.splitlines()[1:]
    assert row.split()[0] == "1"
    assert row.endswith(f"a red cat  -        3     {first}")
    done = cav("history", "--again", "1", "-o", str(again))
    assert (done.returncode, done.stdout) == (0, f"{again}\n"), done.stderr
    assert again.read_bytes() == first.read_bytes()
    assert cav("history", "--again", "9").returncode == 3
    refused = cav("history", "--again", "1", "-o", str(again))
    assert (refused.returncode, "pass `--overwrite`" in refused.stderr) == (4, True)
    assert cav("history", "--again", "1", "-o", str(again), "--overwrite").returncode == 0
    assert len(cav("history").stdout.splitlines()) == 4
