"""`cav verify`."""

import json
import os
from pathlib import Path

import pytest

from cavtool.registry import Asset, Registry, asset
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


def test_an_asset_removed_meanwhile_is_not_counted(cav: Cav, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second", "third"):
        put_motion(home, name)

    def verify_slowly(found: Asset) -> None:
        if found.record.name == "first":
            Registry(home / "data" / "assets").remove("second")
        asset.verify(found)

    monkeypatch.setattr("cavtool.registry.verify.verify", verify_slowly)
    assert cav("verify") == (0, "", "note: 2 intact\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name on this system")
def test_a_pipe_in_place_of_a_file_is_damage(cav: Cav, home: Path) -> None:
    put_motion(home, "good")
    weights = put_motion(home, "odd").weights
    weights.unlink()
    os.mkfifo(weights)
    done = cav("verify")
    assert done.returncode == 5
    assert "`weights.safetensors` of `odd` cannot be read: not a regular file" in done.stderr
    assert "1 damaged, 1 intact" in done.stderr


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
