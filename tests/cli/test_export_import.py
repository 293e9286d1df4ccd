"""`cav export` and `cav import`."""

from pathlib import Path

import pytest

from tests.cli.assets import listed_names, put_motion
from tests.cli.conftest import Cav


@pytest.fixture(autouse=True)
def _current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_motions_are_shared_in_a_file(cav: Cav, home: Path, tmp_path: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    assert cav("export", "twirl").stdout == "twirl.cav\n"
    assert cav("export", "twirl").returncode == 4
    assert cav("export", "twirl", "--overwrite").returncode == 0
    assert cav("export", "twirl*").returncode == 2
    assert cav("export", "twirl*", "-o", "both.cav").stdout == "both.cav\n"
    other = {"CAV_HOME": str(tmp_path / "other")}
    assert cav("import", "both.cav", env=other).stdout == "twirl\ntwirl-look\n"
    assert cav("import", "twirl.cav", env=other).returncode == 4
    assert cav("import", "twirl.cav", "--as", "spin", env=other).stdout == "spin\n"
    assert cav("import", "both.cav", "--as", "spin", env=other).returncode == 2
    assert listed_names(cav, env=other) == ["spin", "twirl", "twirl-look"]
    assert cav("verify", env=other).returncode == 0


def test_any_other_file_is_refused(cav: Cav, tmp_path: Path) -> None:
    (tmp_path / "text.cav").write_text("hello")
    done = cav("import", "text.cav")
    assert done.returncode == 5
    assert done.stderr == "error: `text.cav` is not a complete bundle: File is not a zip file\n"
    assert cav("import", "nothing.cav").returncode == 3
