"""In order of precedence: the environment, the file, the default."""

import os
from pathlib import Path

import pytest

from cavtool.errors import InvalidInput
from cavtool.settings import Settings, Value


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "config" / "config.toml")


def write(settings: Settings, text: str) -> Path:
    settings.file.parent.mkdir(parents=True, exist_ok=True)
    settings.file.write_text(text, encoding="utf-8")
    return settings.file


def test_the_environment_takes_precedence_over_the_file_and_the_file_over_the_default(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.get("generate.steps") == Value(None, "default")
    write(settings, "[generate]\nsteps = 30\n")
    assert settings.get("generate.steps") == Value(30, "file")
    monkeypatch.setenv("CAV_GENERATE_STEPS", "35")
    assert settings.get("generate.steps") == Value(35, "environment")
    assert settings.option_defaults() == {"generate": {"steps": 35}}


def test_a_key_of_one_word_applies_to_every_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAV_DEVICE", "cpu")
    assert settings.option_defaults() == {each: {"device": "cpu"} for each in ("absorb", "edit", "generate", "learn")}


def test_comments_and_unknown_keys_are_kept(settings: Settings) -> None:
    file = write(settings, "# mine\nmodel = 'zeroscope' # large\n\n[generate]\nsteps = 30  # enough\n[other]\nx = 1\n")
    settings.put("generate.steps", "40")
    settings.put("generate.guidance", "7")
    settings.put("learn.rank", "8")
    settings.put("registry.paths", f"/a b{os.pathsep}/c")
    text = file.read_text()
    assert text.startswith("# mine\nmodel = 'zeroscope' # large\n\n[generate]\nsteps = 40  # enough\nguidance = 7.0\n")
    assert "[other]\nx = 1\n" in text
    assert settings.get("registry.paths").value == ("/a b", "/c")
    assert settings.drop("generate.steps")
    assert not settings.drop("generate.steps")
    assert settings.get("generate.steps").source == "default"
    assert settings.get("generate.guidance") == Value(7.0, "file")
    assert settings.unknown_keys() == ["other.x"]


def test_a_whole_number_is_accepted_for_a_number(settings: Settings) -> None:
    write(settings, "[generate]\nguidance = 5\n")
    assert settings.get("generate.guidance") == Value(5.0, "file")


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("generate.steps", "many", "`generate.steps` is a whole number, not `many`"),
        ("generate.guidance", "x", "`generate.guidance` is a number, not `x`"),
        ("generate.step", "3", "no setting `generate.step`"),
    ],
)
def test_an_invalid_value_is_refused(settings: Settings, key: str, text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        settings.put(key, text)
    assert caught.value.message == message
    assert not settings.file.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[generate]\nsteps = 'many'", "`generate.steps` is a whole number, not `many`"),
        ("[generate]\nsteps = true", "`generate.steps` is a whole number, not `True`"),
        ("[generate", "is not TOML"),
    ],
)
def test_an_invalid_file_is_reported_with_the_key(settings: Settings, text: str, message: str) -> None:
    write(settings, text)
    with pytest.raises(InvalidInput, match=message):
        settings.get("generate.steps")


@pytest.mark.parametrize("text", ["x = = 1", "generate = 5"])
def test_an_invalid_file_is_not_overwritten(settings: Settings, text: str) -> None:
    file = write(settings, text)
    with pytest.raises(InvalidInput, match=r"is not TOML|is not a table"):
        settings.put("generate.steps", "4")
    if "= =" not in text:
        assert not settings.drop("generate.steps")
    assert file.read_text() == text


def test_the_home_of_an_unknown_user_is_refused_and_a_relative_folder_made_absolute(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings.put("registry.paths", f"shared{os.pathsep}~/shared")
    assert settings.shared_registries() == [tmp_path / "shared", Path("~/shared").expanduser()]
    monkeypatch.setenv("CAV_REGISTRY_PATHS", "~nobody-at-all/x")
    with pytest.raises(InvalidInput, match="the home of an unknown user"):
        settings.shared_registries()


def test_a_value_in_place_of_a_table_is_ignored(settings: Settings) -> None:
    write(settings, "generate = 1")
    assert settings.get("generate.steps").source == "default"


def test_the_commands_that_settings_apply_to_read_them(home: Path) -> None:
    from cavtool.cli.app import _CONFIGURABLE

    settings = Settings(home / "settings.toml")
    settings.put("device", "cpu")
    assert settings.option_defaults().keys() == _CONFIGURABLE
