"""`cav rm`."""

import json
from pathlib import Path

from tests.cli.assets import listed_names, put_motion
from tests.cli.conftest import Cav, OnTerminal


def test_it_asks_on_a_terminal(cav_on_terminal: OnTerminal, home: Path) -> None:
    folder = put_motion(home, "twirl").folder
    screen, code = cav_on_terminal("rm", "twirl", typed="n")
    assert "Move twirl to the trash? [y/N]" in screen
    assert "nothing was removed" in screen
    assert (code, folder.exists()) == (1, True)
    assert cav_on_terminal("rm", "twirl", typed="y")[1] == 0
    assert not folder.exists()


def test_without_a_terminal_it_needs_yes(cav: Cav, home: Path) -> None:
    folder = put_motion(home, "twirl").folder
    message = "error: `cav rm` asks for confirmation, which needs a terminal\nhint: add `--yes`\n"
    assert cav("rm", "twirl") == (2, "", message)
    assert folder.exists()


def test_the_others_are_removed_after_an_error(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "zoom")
    done = cav("rm", "twirl", "twril", "zoom", "--yes")
    assert done.returncode == 3
    assert done.stdout == "twirl\nzoom\n"
    assert "`twril`" in done.stderr
    assert done.stderr.endswith("error: 2 removed, 1 failed: `twril`\n")
    assert listed_names(cav) == []


def test_json_has_the_removed_names_and_the_error(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    done = cav("rm", "twirl", "nothing", "--yes", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 3
    assert (answer["ok"], answer["data"]["removed"], answer["error"]["code"]) == (False, ["twirl"], "not-found")
    (failed,) = answer["data"]["failed"]
    assert (failed["name"], failed["code"]) == ("nothing", "not-found")
    assert failed["message"] == "no motion or absorber named `nothing`"


def test_dry_run(cav: Cav, home: Path) -> None:
    folder = put_motion(home, "twirl").folder
    (put_motion(home, "broken").folder / "record.toml").write_text("schema = [")
    assert cav("rm", "twirl", "broken", "--dry-run") == (0, "twirl\nbroken\n", "note: 2 would be removed\n")
    assert cav("rm", "twril", "--dry-run").returncode == 3
    assert folder.exists()


def test_a_missing_name_is_reported_without_a_question(cav_on_terminal: OnTerminal, home: Path) -> None:
    put_motion(home, "twirl")
    screen, code = cav_on_terminal("rm", "twril")
    assert (code, "[y/N]" in screen, "did you mean `twirl`?" in screen) == (3, False, True)
    screen, code = cav_on_terminal("rm", "twirl", "twril", typed="y")
    assert (code, "Move twirl to the trash?" in screen) == (3, True)


def test_the_absorber_of_a_motion_stays_unless_asked(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    done = cav("rm", "twirl", "--yes")
    assert done == (0, "twirl\n", "note: the absorber stays: `twirl-look`; `--with-absorber` removes it too\n")
    assert cav("trash", "restore", "twirl").returncode == 0
    assert cav("rm", "twirl", "--with-absorber", "--yes").stdout == "twirl\ntwirl-look\n"
    assert listed_names(cav) == []


def test_globs(cav: Cav, cav_on_terminal: OnTerminal, home: Path) -> None:
    for name in ("test-1", "test-2", "twirl"):
        put_motion(home, name)
    screen, code = cav_on_terminal("rm", "test-*", typed="n")
    assert "Move test-1, test-2 to the trash? [y/N]" in screen
    assert code == 1
    assert cav("rm", "test-*", "--yes") == (0, "test-1\ntest-2\n", "note: 2 removed\n")
    assert listed_names(cav) == ["twirl"]
    assert cav("rm", "test-*", "--yes").returncode == 3
