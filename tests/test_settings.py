"""Option over environment over file over default."""

import os
from pathlib import Path

import pytest

from cavtool import settings
from cavtool.errors import InvalidInput
from cavtool.settings import Value


def write(text: str) -> Path:
    file = settings.file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_the_environment_goes_before_the_file_and_that_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.get("generate.steps") == Value(25, "default")
    write("[generate]\nsteps = 30\n")
    assert settings.get("generate.steps") == Value(30, "file")
    monkeypatch.setenv("CAV_GENERATE_STEPS", "35")
    assert settings.get("generate.steps") == Value(35, "environment")
    assert settings.option_defaults() == {"generate": {"steps": 35}}


def test_a_key_of_one_word_is_for_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAV_DEVICE", "cpu")
    assert settings.option_defaults() == {"generate": {"device": "cpu"}, "learn": {"device": "cpu"}}


def test_comments_and_what_else_is_there_stay() -> None:
    file = write("# mine\nmodel = 'zeroscope' # large\n\n[generate]\nsteps = 30  # enough\n[other]\nx = 1\n")
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
    assert settings.strangers() == ["other.x"]


def test_whole_numbers_do_for_numbers() -> None:
    write("[generate]\nguidance = 5\n")
    assert settings.get("generate.guidance") == Value(5.0, "file")


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("generate.steps", "many", "`generate.steps` is a whole number, not `many`"),
        ("generate.guidance", "x", "`generate.guidance` is a number, not `x`"),
        ("generate.step", "3", "no setting `generate.step`"),
    ],
)
def test_what_cannot_be_set_is_refused(key: str, text: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        settings.put(key, text)
    assert caught.value.message == told
    assert not settings.file().exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[generate]\nsteps = 'many'", "`generate.steps` is a whole number, not `many`"),
        ("[generate]\nsteps = true", "`generate.steps` is a whole number, not `True`"),
        ("[generate", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str, told: str) -> None:
    write(text)
    with pytest.raises(InvalidInput, match=told):
        settings.get("generate.steps")


@pytest.mark.parametrize("text", ["x = = 1", "generate = 5"])
def test_a_file_that_is_wrong_is_not_written_over(text: str) -> None:
    file = write(text)
    with pytest.raises(InvalidInput, match=r"is not TOML|is no table"):
        settings.put("generate.steps", "4")
    if "= =" not in text:
        assert not settings.drop("generate.steps")
    assert file.read_text() == text


def test_a_folder_of_nobody_is_refused_and_a_relative_one_made_to_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings.put("registry.paths", f"shared{os.pathsep}~/shared")
    assert settings.shared_registries() == [tmp_path / "shared", Path("~/shared").expanduser()]
    monkeypatch.setenv("CAV_REGISTRY_PATHS", "~nobody-at-all/x")
    with pytest.raises(InvalidInput, match="a folder of nobody"):
        settings.shared_registries()


def test_a_value_where_a_table_should_be_is_not_set() -> None:
    write("generate = 1")
    assert settings.get("generate.steps").source == "default"
