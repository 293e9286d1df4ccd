"""`cav cp`, `cav mv`, `cav tag`, `cav note`, `cav trash`, and globs."""

import json
from pathlib import Path

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav, OnTerminal


def names(cav: Cav) -> list[str]:
    return [asset["name"] for asset in json.loads(cav("list", "--json").stdout)]


def test_cp_and_mv(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    assert cav("cp", "twirl", "spin").stdout == "spin\n"
    assert cav("mv", "twirl", "pirouette").stdout == "pirouette\n"
    assert names(cav) == ["pirouette", "spin"]
    done = cav("mv", "spin", "pirouette")
    assert (done.returncode, done.stderr.splitlines()[0]) == (4, "error: `pirouette` exists already")
    assert cav("mv", "spin", "pirouette", "--replace").returncode == 0
    assert names(cav) == ["pirouette"]
    answer = json.loads(cav("cp", "pirouette", "spin", "--json").stdout)
    assert (answer["command"], answer["data"]["name"]) == ("cp", "spin")


def test_tags_are_added_shown_and_taken_away(cav: Cav, home: Path) -> None:
    for name in ("test-1", "test-2", "twirl"):
        put_motion(home, name)
    done = cav("tag", "test-*", "draft", "slow")
    assert (done.stdout, done.stderr) == ("test-1 draft slow\ntest-2 draft slow\n", "note: 2 tagged\n")
    assert cav("tag", "test-1", "slow", "--remove").stdout == "test-1 draft\n"
    assert json.loads(cav("tag", "test-*", "--json").stdout)["data"]["tags"] == {
        "test-1": ["draft"],
        "test-2": ["draft", "slow"],
    }
    assert cav("tag", "twirl", "--remove").returncode == 2
    assert cav("tag", "twirl", "No Tag").returncode == 2
    unmatched = cav("tag", "nothing-*", "slow")
    assert unmatched.stderr == "error: nothing matches `nothing-*`\nhint: `cav list` shows what there is\n"
    assert cav("tag", "twril*", "slow").stderr.endswith("hint: did you mean `twirl`?\n")


def test_a_note_is_kept_shown_and_cleared(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    assert cav("note", "twirl").stdout == ""
    assert cav("note", "twirl", "too fast: try 3 s").stdout == "too fast: try 3 s\n"
    assert cav("note", "twirl").stdout == "too fast: try 3 s\n"
    assert "too fast" in cav("show", "twirl").stdout
    cav("note", "twirl", "")
    assert cav("note", "twirl").stdout == ""


def test_a_strangers_note_commands_no_terminal(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    assert cav("note", "twirl", "red \x1b[31m\nnot \x07").stdout == "red ?[31m\nnot ?\n"


def test_a_date_nobody_can_tell_is_shown_as_it_is(cav: Cav, home: Path) -> None:
    record = put_motion(home, "twirl").folder / "record.toml"
    text = record.read_text()
    start = text.index('created = "') + len('created = "')
    record.write_text(text[:start] + "0001-01-01T00:00:00+14:00" + text[text.index('"', start) :])
    assert "0001-01-01T00:00:00+14:00" in cav("list").stdout


def test_rm_takes_globs_and_says_how_many(cav: Cav, cav_on_a_terminal: OnTerminal, home: Path) -> None:
    for name in ("test-1", "test-2", "twirl"):
        put_motion(home, name)
    screen, code = cav_on_a_terminal("rm", "test-*", typed="n")
    assert "Move test-1, test-2 to the trash? [y/N]" in screen
    assert code == 1
    done = cav("rm", "test-*", "--yes")
    assert (done.stdout, done.stderr) == ("test-1\ntest-2\n", "note: 2 removed\n")
    assert names(cav) == ["twirl"]
    assert cav("rm", "test-*", "--yes").returncode == 3


def test_what_was_removed_comes_back(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    cav("rm", "twirl", "--yes")
    (thrown,) = json.loads(cav("trash", "list", "--json").stdout)
    assert thrown["name"] == "twirl"
    assert cav("trash", "list").stdout.splitlines()[1].startswith(f"{thrown['id']}  twirl")
    assert cav("trash", "restore", "twril").stderr.endswith("hint: did you mean `twirl`?\n")
    assert cav("trash", "restore", "twirl").stdout == "twirl\n"
    assert names(cav) == ["twirl"]
    cav("rm", "twirl", "--yes")
    put_motion(home, "twirl")
    done = cav("trash", "restore", "twirl")
    assert (done.returncode, done.stderr.splitlines()[1]) == (4, "hint: give it another name with `--as NAME`")
    assert cav("trash", "restore", "twirl", "--as", "old").stdout == "old\n"
    assert names(cav) == ["old", "twirl"]


def test_the_trash_is_emptied_when_it_is_meant(cav: Cav, cav_on_a_terminal: OnTerminal, home: Path) -> None:
    for name in ("twirl", "zoom"):
        put_motion(home, name)
    cav("rm", "twirl", "zoom", "--yes")
    assert cav("trash", "empty").returncode == 2
    assert "Delete 2 from the trash for good" in cav_on_a_terminal("trash", "empty", typed="n")[0]
    assert "2 would be deleted" in cav("trash", "empty", "--dry-run").stderr
    assert cav("trash", "empty", "--days", "1", "--yes").stderr == "note: 0 deleted, 0.0 kB\n"
    assert len(json.loads(cav("trash", "list", "--json").stdout)) == 2
    assert cav("trash", "empty", "--yes").stderr.startswith("note: 2 deleted, ")
    assert json.loads(cav("trash", "list", "--json").stdout) == []
    assert cav("trash", "empty").returncode == 0
