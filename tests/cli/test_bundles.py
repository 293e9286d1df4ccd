"""`cav export`, `cav import`."""

import json
from pathlib import Path

import pytest

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_motion_is_handed_on(cav: Cav, home: Path, tmp_path: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    assert cav("export", "twirl").stdout == "twirl.cav\n"
    assert cav("export", "twirl").returncode == 4
    assert cav("export", "twirl*").returncode == 2
    assert cav("export", "twirl*", "-o", "both.cav").stdout == "both.cav\n"
    hers = {"CAV_HOME": str(tmp_path / "hers")}
    assert cav("import", "both.cav", env=hers).stdout == "twirl\ntwirl-look\n"
    assert cav("import", "twirl.cav", env=hers).returncode == 4
    assert cav("import", "twirl.cav", "--as", "spin", env=hers).stdout == "spin\n"
    assert cav("import", "both.cav", "--as", "spin", env=hers).returncode == 2
    assert [asset["name"] for asset in json.loads(cav("list", "--json", env=hers).stdout)] == [
        "spin",
        "twirl",
        "twirl-look",
    ]
    assert cav("verify", env=hers).returncode == 0


def test_what_is_no_bundle_is_refused_in_a_line(cav: Cav, tmp_path: Path) -> None:
    (tmp_path / "text.cav").write_text("hello")
    done = cav("import", "text.cav")
    assert done.returncode == 5
    assert done.stderr == "error: `text.cav` is not a complete bundle: File is not a zip file\n"
    assert cav("import", "nothing.cav").returncode == 3
