"""`cav cp` and `cav mv`."""

import json
from pathlib import Path

from tests.cli.assets import listed_names, put_motion
from tests.cli.conftest import Cav


def test_copy_and_rename(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    assert cav("cp", "twirl", "spin").stdout == "spin\n"
    assert cav("mv", "twirl", "pirouette").stdout == "pirouette\n"
    assert listed_names(cav) == ["pirouette", "spin"]
    done = cav("mv", "spin", "pirouette")
    assert (done.returncode, done.stderr.splitlines()[0]) == (4, "error: `pirouette` already exists")
    assert cav("mv", "spin", "pirouette", "--force").returncode == 0
    assert listed_names(cav) == ["pirouette"]
    answer = json.loads(cav("cp", "pirouette", "spin", "--json").stdout)
    assert (answer["command"], answer["data"]["name"]) == ("cp", "spin")


def test_the_absorber_of_a_motion_is_renamed_on_request(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    note = "note: the absorber is still `twirl-look`; `cav mv twirl-look spin-look` renames it too\n"
    assert cav("mv", "twirl", "spin") == (0, "spin\n", note)
    assert cav("mv", "spin", "twirl").returncode == 0
    put_motion(home, "spin-look", kind="absorber")
    assert cav("mv", "twirl", "spin", "--with-absorber").returncode == 4
    assert listed_names(cav) == ["spin-look", "twirl", "twirl-look"]
    assert cav("mv", "twirl", "spin", "--with-absorber", "--force").stdout == "spin\nspin-look\n"
    assert listed_names(cav) == ["spin", "spin-look"]


def test_another_kind_is_not_replaced(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "ghibli", kind="absorber")
    for command in ("cp", "mv"):
        done = cav(command, "twirl", "ghibli", "--force")
        assert (done.returncode, "`ghibli` is an existing absorber" in done.stderr) == (4, True)
    assert listed_names(cav) == ["ghibli", "twirl"]
