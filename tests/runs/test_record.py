"""`run.toml`: older schemas are read; the error for a damaged file is one line that names the field."""

import shutil
from pathlib import Path

import pytest

from cavtool.errors import IntegrityFailure
from cavtool.runs import Outcome, Run
from tests.registry.samples import CLIP
from tests.runs.samples import RECIPE, begin


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return begin(tmp_path, "twirl")


def test_a_record_of_schema_1_is_read(run: Run) -> None:
    shutil.copy(Path(__file__).parent / "golden" / "schema-1.toml", run.folder / "run.toml")
    record = run.record
    assert (record.name, record.recipe, record.clip, record.replace) == ("twirl", RECIPE, CLIP, False)
    assert record.outcome == Outcome(reason="the loss is not finite")
    with run.lock():
        assert run.record.outcome is None
    assert "settings" not in (run.folder / "run.toml").read_text()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("steps = 250", "steps = 250\nmomentum = 0.9", "has an unknown key: `recipe.momentum`"),
        ("replace = false", "replace = false\ncolour = 1", "has an unknown key: `colour`"),
        ("steps = 250", "steps = 2.5", "has no valid `recipe.steps`: expected `int`, got `float`"),
        ("steps = 250", "steps = -1", "has no valid `recipe`: `--steps` must be 0 or more"),
        ('absorber_kind = "dual"', 'absorber_kind = "both"', "has no valid `recipe.absorber_kind`: invalid enum value"),
        ("fps = 8.0", "", "has no `clip.fps`"),
        ("schema = 4", "schema = 5", "was written by a newer `cav`"),
        ("schema = 4", "schema = true", "`schema` in `run.toml` of run `.*` is not valid: expected `int`, got `bool`"),
        ('name = "twirl"', "name = ", "is not TOML"),
    ],
)
def test_a_damaged_record_names_the_field(run: Run, before: str, after: str, message: str) -> None:
    text = (run.folder / "run.toml").read_text()
    assert before in text
    (run.folder / "run.toml").write_text(text.replace(before, after, 1))
    with pytest.raises(IntegrityFailure, match=message) as caught:
        _ = run.record
    assert run.id in caught.value.message
