from pathlib import Path

import pytest

from cavtool.system import paths

PLACES = [paths.data_dir, paths.config_dir, paths.cache_dir, paths.state_dir]


def test_cav_home_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAV_HOME", str(tmp_path / "home"))
    assert [place() for place in PLACES] == [tmp_path / "home" / part for part in ("data", "config", "cache", "state")]
    assert paths.assets_dir() == tmp_path / "home" / "data" / "assets"
    assert paths.runs_dir() == tmp_path / "home" / "state" / "runs"
    assert not (tmp_path / "home").exists()


def test_cav_home_may_be_relative_or_start_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAV_HOME", "here")
    assert paths.data_dir() == tmp_path / "here" / "data"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("CAV_HOME", "~/there")
    assert paths.data_dir() == tmp_path / "there" / "data"


@pytest.mark.parametrize("home", [None, ""])
def test_without_cav_home_the_platform_decides(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAV_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("CAV_HOME", home)
    places = [place() for place in PLACES]
    assert len(set(places)) == 4
    assert all(place.is_absolute() and "cav" in place.parts for place in places)
