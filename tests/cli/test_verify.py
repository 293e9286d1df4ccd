"""`cav verify`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cavtool.registry import Registry
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


def test_an_intact_registry(cav: Cav, home: Path) -> None:
    assert cav("verify").stderr == "note: 0 intact\n"
    put_motion(home, "twirl")
    put_motion(home, "zoom")
    assert cav("verify") == (0, "", "note: 2 intact\n")
    assert cav("verify", "-q").stderr == ""


def test_damage_is_found_and_repair_moves_it(cav: Cav, home: Path) -> None:
    for name in ("good", "changed", "torn"):
        put_motion(home, name)
    assets = home / "data" / "assets"
    (assets / "changed" / "weights.safetensors").write_bytes(b"other")
    (assets / "torn" / "record.toml").write_text("schema = [")
    (assets / "good" / "unknown.txt").write_text("hello")
    (assets / "Notes.txt").write_text("not an asset")
    done = cav("verify")
    assert done.returncode == 5
    assert "`weights.safetensors` of `changed` does not match its checksum" in done.stderr
    assert "unexpected file `unknown.txt` in `good`" in done.stderr
    assert "`Notes.txt` is not an asset" in done.stderr
    assert done.stderr.endswith(
        "error: 3 damaged, 1 intact\nhint: `cav verify --repair` moves the damaged ones to a quarantine\n"
    )
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe, at which the command waits")
def test_an_asset_removed_meanwhile_is_not_counted(home: Path, environment: dict[str, str]) -> None:
    for name in ("first", "second", "third"):
        put_motion(home, name)
    weights = home / "data" / "assets" / "first" / "weights.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    os.mkfifo(weights)
    command = [sys.executable, "-m", "cavtool", "verify"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        with weights.open("wb") as pipe:  # opens when the command reads there
            Registry(home / "data" / "assets").remove("second")
            pipe.write(content)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "note: 2 intact\n")


def test_repair_continues_if_one_cannot_be_moved(cav: Cav, home: Path, tmp_path: Path) -> None:
    put_motion(tmp_path / "theirs", "a-shared-one")
    put_motion(home, "mine")
    shared = tmp_path / "theirs" / "data" / "assets"
    assert cav("config", "set", "registry.paths", str(shared)).returncode == 0
    for folder in (shared / "a-shared-one", home / "data" / "assets" / "mine"):
        (folder / "weights.safetensors").write_bytes(b"other")
    done = cav("verify", "a-shared-one", "mine", "--repair")
    assert done.returncode == 5
    assert "error: `a-shared-one` is shared" in done.stderr
    assert "mine-" in done.stdout
    assert not (home / "data" / "assets" / "mine").exists()
    assert (shared / "a-shared-one").exists()
