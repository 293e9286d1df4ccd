"""`cav trash`."""

import json
from pathlib import Path

from tests.cli.assets import listed_names, put_motion
from tests.cli.conftest import Cav, OnTerminal


def test_list_and_restore(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    cav("rm", "twirl", "--yes")
    (entry,) = json.loads(cav("trash", "list", "--json").stdout)
    assert entry["name"] == "twirl"
    assert cav("trash", "list").stdout.splitlines()[1].startswith(f"{entry['id']}  twirl")
    assert cav("trash", "restore", "twril").stderr.endswith("hint: did you mean `twirl`?\n")
    assert cav("trash", "restore", "twirl").stdout == "twirl\n"
    assert listed_names(cav) == ["twirl"]


def test_a_taken_name_needs_another(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    cav("rm", "twirl", "--yes")
    put_motion(home, "twirl")
    done = cav("trash", "restore", "twirl")
    assert (done.returncode, done.stderr.splitlines()[1]) == (4, "hint: give it another name with `--as NAME`")
    assert cav("trash", "restore", "twirl", "--as", "old").stdout == "old\n"
    assert listed_names(cav) == ["old", "twirl"]


def test_empty(cav: Cav, cav_on_terminal: OnTerminal, home: Path) -> None:
    for name in ("twirl", "zoom"):
        put_motion(home, name)
    cav("rm", "twirl", "zoom", "--yes")
    assert cav("trash", "empty").returncode == 2
    assert "Delete 2 items from the trash permanently" in cav_on_terminal("trash", "empty", typed="n")[0]
    assert "2 would be deleted" in cav("trash", "empty", "--dry-run").stderr
    assert cav("trash", "empty", "--days", "1", "--yes").stderr == "note: 0 deleted, 0.0 kB\n"
    assert len(json.loads(cav("trash", "list", "--json").stdout)) == 2
    assert cav("trash", "empty", "--yes").stderr.startswith("note: 2 deleted, ")
    assert json.loads(cav("trash", "list", "--json").stdout) == []
    assert cav("trash", "empty").returncode == 0


def test_several_are_restored(cav: Cav, home: Path) -> None:
    for name in ("test-1", "test-2", "twirl"):
        put_motion(home, name)
    cav("rm", "test-1", "test-2", "twirl", "--yes")
    assert cav("trash", "restore", "test-*", "--as", "x").returncode == 2
    done = cav("trash", "restore", "test-*", "nothing", "--json")
    data = json.loads(done.stdout)["data"]
    assert (done.returncode, [each["name"] for each in data["assets"]]) == (3, ["test-1", "test-2"])
    assert [each["name"] for each in data["failed"]] == ["nothing"]
    assert listed_names(cav) == ["test-1", "test-2"]
    assert cav("trash", "list", "-q").stdout.startswith("twirl-")
