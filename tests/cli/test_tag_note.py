"""`cav tag` and `cav note`."""

import json
from pathlib import Path

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


def test_tags_are_added_shown_and_removed(cav: Cav, home: Path) -> None:
    for name in ("test-1", "test-2", "twirl"):
        put_motion(home, name)
    assert cav("tag", "test-*", "draft", "slow") == (0, "test-1 draft slow\ntest-2 draft slow\n", "note: 2 tagged\n")
    assert cav("tag", "test-1", "slow", "--remove").stdout == "test-1 draft\n"
    assert json.loads(cav("tag", "test-*", "--json").stdout)["data"]["tags"] == {
        "test-1": ["draft"],
        "test-2": ["draft", "slow"],
    }


def test_invalid_tags_and_names(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    assert cav("tag", "twirl", "--remove") == (
        2,
        "",
        "error: no tags to remove\nhint: `cav tag twirl` shows the tags\n",
    )
    assert cav("tag", "twirl", "No Tag").returncode == 2
    unmatched = cav("tag", "nothing-*", "slow")
    assert unmatched.stderr == "error: nothing matches `nothing-*`\nhint: `cav list` shows what there is\n"
    assert cav("tag", "twril*", "slow").stderr.endswith("hint: did you mean `twirl`?\n")


def test_a_note_is_set_shown_and_cleared(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    assert cav("note", "twirl").stdout == ""
    assert cav("note", "twirl", "too fast: try 3 s").stdout == "too fast: try 3 s\n"
    assert cav("note", "twirl").stdout == "too fast: try 3 s\n"
    assert "too fast" in cav("show", "twirl").stdout
    cav("note", "twirl", "")
    assert cav("note", "twirl").stdout == ""


def test_control_characters_of_a_note_are_not_printed(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    assert cav("note", "twirl", "red \x1b[31m\nnot \x07").stdout == "red ?[31m\nnot ?\n"
