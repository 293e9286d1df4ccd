"""In order of precedence: the environment, the file, the default."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cavtool.errors import InvalidInput
from cavtool.settings import Settings, Value
from cavtool.system import paths


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
    assert settings.option_defaults("generate") == {"steps": 35}
    assert settings.option_defaults("learn") == {}


def test_a_key_of_one_word_applies_to_every_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAV_DEVICE", "cpu")
    assert [settings.option_defaults(each) for each in ("absorb", "edit", "learn")] == [{"device": "cpu"}] * 3


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
        ("generate.steps", "0", "`generate.steps` must be from 1 to 500, not `0`"),
        ("generate.guidance", "nan", "`generate.guidance` must be from 0 to 100, not `nan`"),
        ("learn.rank", "5000", "`learn.rank` must be from 1 to 1024, not `5000`"),
        ("learn.steps", "-1", "`learn.steps` must be 0 or more, not `-1`"),
        ("device", "gpu", "`device` must be one of auto, cpu, mps, cuda, or cuda:1, not `gpu`"),
        ("model", " ", "`model` must be a name or a folder, not ` `"),
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
        ("[generate\n", "is not TOML"),
        ("[generate]\nsteps = 5000", r"`generate.steps` must be from 1 to 500, not `5000` \(in `.*config.toml`\)"),
        (f"[generate]\nsteps = {'9' * 5000}", "is not TOML"),
        (f"{'a.' * 3000}a = 1", "is not TOML|nested too deeply"),
        ("\0", "is not TOML"),
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
    assert all(settings.option_defaults(command) == {"device": "cpu"} for command in _CONFIGURABLE)


def test_parallel_changes_are_all_kept(settings: Settings, tmp_path: Path) -> None:
    values = {"generate.steps": "7", "generate.guidance": "5", "learn.rank": "3", "learn.steps": "9", "device": "cpu"}
    processes = [
        subprocess.Popen([sys.executable, "-m", "cavtool", "config", "set", *each], stdout=subprocess.DEVNULL)
        for each in values.items()
    ]
    assert [process.wait(60) for process in processes] == [0] * len(values)
    changed = Settings(paths.places().settings)
    assert {key: str(changed.get(key).value).removesuffix(".0") for key in values} == values


def test_a_linked_file_stays_a_link_and_keeps_its_permissions(settings: Settings, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "cav.toml"
    target.parent.mkdir()
    target.write_text("# mine\n")
    target.chmod(0o600)
    settings.file.parent.mkdir(parents=True, exist_ok=True)
    settings.file.symlink_to(target)
    settings.put("learn.rank", "4")
    assert settings.file.is_symlink()
    assert target.read_text().startswith("# mine\n")
    assert "rank = 4" in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name on this system")
def test_a_pipe_in_place_of_the_file_is_refused_at_once(settings: Settings) -> None:
    settings.file.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(settings.file)
    with pytest.raises(InvalidInput, match="not a regular file"):
        settings.get("model")
    with pytest.raises(InvalidInput, match="not a regular file"):
        settings.put("learn.rank", "4")
