import shutil
from pathlib import Path

import pytest

from cavtool.errors import NotFound
from cavtool.models import find_model


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("an upside down ironman moves left at night", []),
        ("A red cat zorps, zorps in the Blorp", ["zorps", "blorp"]),
        ("a man of 7 stands now", ["man", "of", "7", "now"]),  # parts of words it knows, and letters
        ("", []),
    ],
)
def test_words_never_seen_are_named_once_and_in_order(prompt: str, unknown: list[str]) -> None:
    assert find_model("cav-mini").unknown_words(prompt) == unknown


def test_a_folder_is_found_again_from_elsewhere_and_knows_no_unknown_words(
    modelscope: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(modelscope.parent)
    model = find_model("modelscope")
    monkeypatch.chdir(tmp_path)
    assert find_model(model.address).fingerprint == find_model(str(modelscope)).fingerprint
    assert model.unknown_words("zorps") == []
    assert find_model("cav-mini").address == "cav-mini"


def test_a_folder_called_like_a_model_that_ships_is_another_model(tmp_path: Path, modelscope: Path) -> None:
    shutil.copytree(modelscope, tmp_path / "of-mine" / "cav-mini")
    model = find_model(str(tmp_path / "of-mine" / "cav-mini"))
    assert find_model(model.address) == model != find_model("cav-mini")


@pytest.mark.parametrize("name", ["cav-mimi", "~nobody-of-that-name/model", "/no/such/folder"])
def test_no_such_model(name: str) -> None:
    with pytest.raises(NotFound):
        find_model(name)


def test_a_model_is_told_by_its_architecture_and_its_weights(tmp_path: Path, modelscope: Path) -> None:
    from tests.small_models import save_modelscope

    first = find_model(str(modelscope))
    reseeded = find_model(str(save_modelscope(tmp_path / "reseeded", seed=1)))
    wider = find_model(str(save_modelscope(tmp_path / "wider", width=64)))
    assert (first.fingerprint, first.revision) != (wider.fingerprint, wider.revision)
    assert first.fingerprint == reseeded.fingerprint
    assert first.revision != reseeded.revision
