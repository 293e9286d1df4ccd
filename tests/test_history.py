"""The history of generated videos."""

import os
from pathlib import Path

import pytest

from cavtool.errors import IntegrityFailure, NotFound, RequirementError
from cavtool.history import EditEntry, History
from cavtool.recipes import Blend, EditRecipe, EditStart, SampleRecipe

RECIPE = SampleRecipe("a red cat", motions=(Blend("twirl", 0.7),), seed=5, steps=3)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "state" / "history.jsonl")


def test_an_empty_history(history: History) -> None:
    assert history.entries() == []
    with pytest.raises(NotFound, match="no video number 1"):
        history.entry(1)
    assert not history.file.parent.exists()


def test_the_latest_comes_last_and_numbers_do_not_change(history: History, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        history.add(SampleRecipe("a cat", seed=seed), [tmp_path / f"{seed}.mp4"])
    lines = history.file.read_text().splitlines()
    history.file.write_text("\n".join([lines[0], lines[1][:20], lines[2], '{"of": "a newer version"}']))
    history.add(RECIPE, [tmp_path / "twirl.mp4"])
    assert [(each.number, each.recipe.seed) for each in history.entries()] == [(1, 1), (3, 3), (5, 5)]
    assert history.entry(5).recipe == RECIPE
    assert history.entry(5).files == (str(tmp_path / "twirl.mp4"),)
    with pytest.raises(NotFound):
        history.entry(2)


def test_an_edit_is_remembered_with_its_video(history: History, tmp_path: Path) -> None:
    recipe = EditRecipe("a cat", start=EditStart.NOISE, motions=(Blend("twirl"),), strength=0.5, seed=3)
    history.add(RECIPE, [tmp_path / "twirl.mp4"])
    history.add(recipe, [tmp_path / "edited.mp4"], video=tmp_path / "dog.mp4")
    generated, edited = history.entries()
    assert generated.recipe == RECIPE
    assert isinstance(edited, EditEntry)
    assert (edited.number, edited.recipe, edited.video) == (2, recipe, str(tmp_path / "dog.mp4"))


def test_damaged_lines_are_reported_and_the_rest_is_listed(history: History, tmp_path: Path) -> None:
    history.add(RECIPE, [tmp_path / "a.mp4"])
    odd = ["[" * 100_000, "3", '{"recipe": {"prompt": "\\ud800"}}', '{"created": 1}', "9" * 5000, "\u2028"]
    with history.file.open("a", encoding="utf-8") as file:
        file.write("\n".join(odd) + "\n")
    history.add(RECIPE, [tmp_path / "b.mp4"])
    assert [each.number for each in history.entries()] == [1, 8]
    assert [each.message.split(" of the history")[0] for each in history.damaged()] == [
        f"line {n}" for n in range(2, 8)
    ]
    assert history.clear() == 2
    assert (history.entries(), history.damaged()) == ([], [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_in_place_of_the_history_is_refused_at_once(history: History, tmp_path: Path) -> None:
    history.file.parent.mkdir()
    os.mkfifo(history.file)
    with pytest.raises(IntegrityFailure, match="not a regular file"):
        history.entries()
    with pytest.raises(RequirementError, match="not a regular file"):
        history.add(RECIPE, [tmp_path / "twirl.mp4"])
