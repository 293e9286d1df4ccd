"""What was generated is remembered, and can be made again."""

from pathlib import Path

import pytest

from cavtool import history
from cavtool.errors import NotFound
from cavtool.recipes import Blend, SampleRecipe

RECIPE = SampleRecipe("a red cat", motions=(Blend("twirl", 0.7),), seed=5, steps=3)


def test_nothing_was_generated_yet() -> None:
    assert history.entries() == []
    with pytest.raises(NotFound, match="no video number 1"):
        history.entry(1)


def test_the_latest_comes_last_and_numbers_stay(tmp_path: Path, home: Path) -> None:
    for seed in (1, 2, 3):
        history.remember(SampleRecipe("a cat", seed=seed), [tmp_path / f"{seed}.mp4"])
    file = home / "state" / "history.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:20], lines[2], '{"of": "a newer version"}']))
    history.remember(RECIPE, [tmp_path / "twirl.mp4"])
    assert [(each.number, each.recipe.seed) for each in history.entries()] == [(1, 1), (3, 3), (5, 5)]
    assert history.entry(5).recipe == RECIPE
    assert history.entry(5).files == (str(tmp_path / "twirl.mp4"),)
    with pytest.raises(NotFound):
        history.entry(2)
