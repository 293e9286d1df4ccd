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
    assert (done.returncode, done.stderr.splitlines()[0]) == (4, "error: `pirouette` exists already")
    assert cav("mv", "spin", "pirouette", "--replace").returncode == 0
    assert listed_names(cav) == ["pirouette"]
    answer = json.loads(cav("cp", "pirouette", "spin", "--json").stdout)
    assert (answer["command"], answer["data"]["name"]) == ("cp", "spin")
