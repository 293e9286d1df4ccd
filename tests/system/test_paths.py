from dataclasses import astuple
from pathlib import Path

import pytest

from cavtool.errors import InvalidInput
from cavtool.system.paths import Places, places


def under(home: Path) -> Places:
    return Places(*(home / part for part in ("data", "config", "state", "cache")))


def test_a_given_home_takes_precedence_over_cav_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAV_HOME", str(tmp_path / "variable"))
    assert places() == under(tmp_path / "variable")
    assert places(tmp_path / "given") == under(tmp_path / "given")
    assert places().assets == tmp_path / "variable" / "data" / "assets"
    assert places().trash == tmp_path / "variable" / "data" / "trash"
    assert places().runs == tmp_path / "variable" / "state" / "runs"
    assert places().history == tmp_path / "variable" / "state" / "history.jsonl"
    assert places().settings == tmp_path / "variable" / "config" / "config.toml"
    assert list(tmp_path.iterdir()) == []


def test_cav_home_may_be_relative_or_start_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAV_HOME", "here")
    assert places() == under(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("CAV_HOME", "~/there")
    assert places() == under(tmp_path / "there")


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="not a folder"):
        places(tmp_path / "file")


@pytest.mark.parametrize("home", [None, ""])
def test_without_cav_home_the_platform_decides(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAV_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("CAV_HOME", home)
    folders = astuple(places())
    assert len(set(folders)) == 4
    assert all(folder.is_absolute() and "cav" in folder.parts for folder in folders)
