"""`cav verify`, `cav prune`, `cav path`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cavtool.registry import Registry
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav
from tests.runs.samples import begin


def aged(path: Path, days: float) -> Path:
    """The same file or folder, last changed so long ago."""
    for each in (path, *path.rglob("*")):
        then = time.time() - days * 86400
        os.utime(each, (then, then))
    return path


def test_verify_says_what_is_whole(cav: Cav, home: Path) -> None:
    assert cav("verify").stderr == "note: 0 whole\n"
    put_motion(home, "twirl")
    put_motion(home, "zoom")
    done = cav("verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "note: 2 whole\n")
    assert cav("verify", "-q").stderr == ""


def test_verify_finds_damage_and_repair_moves_it_aside(cav: Cav, home: Path) -> None:
    for name in ("good", "changed", "torn"):
        put_motion(home, name)
    assets = home / "data" / "assets"
    (assets / "changed" / "weights.safetensors").write_bytes(b"other")
    (assets / "torn" / "record.toml").write_text("schema = [")
    (assets / "good" / "stranger.txt").write_text("hello")
    (assets / "Notes.txt").write_text("a stray file")
    done = cav("verify")
    assert done.returncode == 5
    assert "`weights.safetensors` of `changed` does not match its checksum" in done.stderr
    assert "unexpected file `stranger.txt` in `good`" in done.stderr
    assert "`Notes.txt` is not an asset" in done.stderr
    assert "error: 3 damaged, 1 whole\nhint: `cav verify --repair` moves them aside\n" in done.stderr
    assert cav("verify", "good").returncode == 0
    answer = json.loads(cav("verify", "--repair", "--json").stdout)
    assert answer["ok"]
    assert sorted(answer["data"]["moved"]) == ["Notes.txt", "changed", "torn"]
    assert {path.name.rsplit("-", 3)[0] for path in (home / "data" / "quarantine").iterdir()} == {
        "Notes.txt",
        "changed",
        "torn",
    }
    assert cav("verify").returncode == 0
    assert cav("list").stdout.count("\n") == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="holds the command up with a named pipe")
def test_verify_counts_what_is_removed_meanwhile_neither_way(home: Path, environment: dict[str, str]) -> None:
    for name in ("first", "second", "third"):
        put_motion(home, name)
    weights = home / "data" / "assets" / "first" / "weights.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    os.mkfifo(weights)
    command = [sys.executable, "-m", "cavtool", "verify"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        with weights.open("wb") as pipe:  # once it reads there
            Registry(home / "data" / "assets").remove("second")
            pipe.write(kept)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "note: 2 whole\n")


def test_prune_says_first_and_does_then(cav: Cav, home: Path) -> None:
    for name, kind in (("twirl", "motion"), ("twirl-look", "absorber"), ("gone-look", "absorber")):
        put_motion(home, name, kind=kind)  # type: ignore[arg-type]
    (put_motion(home, "torn").folder / "record.toml").write_text("")
    put_motion(home, "torn-look", kind="absorber")
    old, new = (begin(home / "state" / "runs", name) for name in ("old", "new"))
    aged(old.folder, 31)
    half = home / "data" / "assets" / "twirl" / ".part-record.toml"
    half.write_text("half")
    aged(half, 1)
    done = cav("prune")
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[1:]] == ["run", "half written", "absorber"]
    assert "to be freed: add `--yes`" in done.stderr
    assert old.folder.exists()
    listed = json.loads(cav("prune", "--yes", "--json").stdout)
    assert [each["name"] for each in listed] == [old.id, "twirl/.part-record.toml", "gone-look"]
    assert not old.folder.exists()
    assert not half.exists()
    assert new.folder.exists()
    assert cav("trash", "list").stdout.count("gone-look") == 2
    assert json.loads(cav("prune", "--json").stdout) == []
    assert cav("prune").stderr == "note: nothing can go\n"


def test_path_prints_where_things_are(cav: Cav, home: Path) -> None:
    folder = put_motion(home, "twirl").folder
    assert cav("path").stdout == f"{home / 'data' / 'assets'}\n"
    assert cav("path", "twirl").stdout == f"{folder}\n"
    assert cav("path", "twril").returncode == 3


def test_repair_moves_the_rest_where_one_cannot_be_moved(cav: Cav, home: Path, tmp_path: Path) -> None:
    put_motion(tmp_path / "theirs", "a-shared-one")
    put_motion(home, "mine")
    shared = tmp_path / "theirs" / "data" / "assets"
    assert cav("config", "set", "registry.paths", str(shared)).returncode == 0
    for weights in (shared / "a-shared-one", home / "data" / "assets" / "mine"):
        (weights / "weights.safetensors").write_bytes(b"other")
    done = cav("verify", "a-shared-one", "mine", "--repair")
    assert done.returncode == 5
    assert "error: `a-shared-one` is shared" in done.stderr
    assert "mine-" in done.stdout
    assert not (home / "data" / "assets" / "mine").exists()
    assert (shared / "a-shared-one").exists()
