"""Errors of `cav learn` and `cav generate` before torch loads."""

from pathlib import Path

import numpy as np
import pytest

from cavtool import video
from cavtool.recipes import ABSORBER_STEPS, STYLE_STEPS, AbsorbRecipe, LearnRecipe, SampleRecipe
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("learn twirl pyproject.toml", 4, "error: `twirl` already exists"),
        ("learn Bounce pyproject.toml", 2, "error: `Bounce` cannot be a name"),
        ("learn bounce pyproject.toml --rank 0", 2, "error: `--rank` must be from 1 to 1024"),
        ("learn bounce pyproject.toml --absorber-kind all", 2, "error: invalid value for `--absorber-kind`"),
        ("learn bounce gone.mp4", 3, "error: no such file: `gone.mp4`"),
        ("learn bounce pyproject.toml --absorber twirl-lok", 3, "hint: did you mean `twirl-look`?"),
        ("learn bounce pyproject.toml --absorber twirl", 3, "`twirl` is a motion"),
        ("learn bounce pyproject.toml --absorber pyproject.toml", 5, "`pyproject.toml` is not a file of weights"),
        ("learn bounce pyproject.toml --absorber x.cav", 3, "error: no file `x.cav`"),
        (
            "learn bounce pyproject.toml --absorber twirl-look --absorber-kind dual",
            2,
            "error: `--absorber-kind` and `--absorber` exclude each other",
        ),
        ("absorb twirl-look pyproject.toml", 4, "error: `twirl-look` already exists"),
        ("absorb x pyproject.toml --kind none", 2, "error: invalid value for `--kind`"),
        ("absorb x pyproject.toml --for-style", 2, "error: `--for-style` needs a `--prompt`"),
        ("absorb x pyproject.toml --rank 0", 2, "error: `--rank` must be from 1 to 1024"),
        ("absorb x gone.png", 3, "error: no such file: `gone.png`"),
        ("generate", 2, "error: the prompt is empty"),
        ("generate ironman --style twirl-lok:0.5", 3, "hint: did you mean `twirl-look`?"),
        ("generate ironman --style twirl-look:1e999", 2, "error: the weight of `twirl-look` must be a finite number"),
        ("generate ironman --motion twril", 3, "hint: did you mean `twirl`?"),
        ("generate ironman --motion twirl-look", 3, "`twirl-look` is an absorber"),
        ("generate ironman --motion twirl:1e999", 2, "error: the weight of `twirl` must be a finite number"),
        ("generate ironman --scale 0", 2, "error: `--scale` must be at least 1"),
        ("generate ironman --motion twirl:", 2, "error: the weight of `twirl` must be a number, not ``"),
        ("generate ironman --motion twirl:1,5", 2, "error: the weight of `twirl` must be a number, not `1,5`"),
        ("generate ironman --motion twirl@x", 2, "error: the window of `twirl` must be two numbers"),
        ("generate ironman --style twirl-look@0-0.5", 2, "error: `twirl-look` cannot have a window"),
        ("learn bounce pyproject.toml --absorber twirl-look:1e30", 2, "error: the weight of `twirl-look` must be from"),
        ("generate ironman --guidance 1e9", 2, "error: `--guidance` must be from 0 to 100"),
        ("generate ironman -n 1000000", 2, "error: `-n` must be from 1 to 1000"),
        ("generate ironman --like gone.mp4", 3, "error: no such file: `gone.mp4`"),
        (
            "learn twirl-look pyproject.toml --force --steps 1",
            4,
            "`twirl-look` is an existing absorber, which no motion can replace",
        ),
        (f"learn {'a' * 60} pyproject.toml", 2, "is too long: its absorber is named like it"),
        ("generate ironman --like pyproject.toml", 2, "error: `pyproject.toml` contains no recipe of `cav`"),
    ],
)
def test_an_invalid_recipe_is_refused(cav: Cav, home: Path, line: str, code: int, message: str) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    done = cav(*line.split())
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


@pytest.mark.parametrize(
    ("command", "recipe"), [("learn", LearnRecipe()), ("absorb", AbsorbRecipe()), ("generate", SampleRecipe("x"))]
)
def test_the_help_shows_the_defaults_of_the_recipe(
    cav: Cav, command: str, recipe: LearnRecipe | AbsorbRecipe | SampleRecipe
) -> None:
    text = " ".join(cav(command, "--help").stdout.split())
    if isinstance(recipe, AbsorbRecipe):
        assert f"(default: {ABSORBER_STEPS}, {STYLE_STEPS} with --for-style)" in text
    else:
        assert (f"[default: {recipe.steps}]" if recipe.steps is not None else "(default: the model's)") in text
    assert f"[default: {recipe.model}]" in text


def test_like_reads_the_recipe_of_a_video_and_options_change_it(cav: Cav, tmp_path: Path) -> None:
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    recipe = {
        "prompt": "ironman",
        "motions": [{"name": "gone", "weight": 0.7}],
        "seed": 3,
        "steps": 25,
        "num_videos": 10**6,
        "device": "gpu",
    }
    video.encode(frames, tmp_path / "made.mp4", fps=8, recipe=recipe)
    video.encode(frames, tmp_path / "bare.mp4", fps=8)
    assert "contains no recipe of `cav`" in cav("generate", "--like", str(tmp_path / "bare.mp4")).stderr
    assert "no motion named `gone`" in cav("generate", "--like", str(tmp_path / "made.mp4")).stderr
    assert "no motion named `other`" in cav("generate", "--like", str(tmp_path / "made.mp4"), "-m", "other").stderr
    assert "`--steps` must be" in cav("generate", "--like", str(tmp_path / "made.mp4"), "--steps", "0").stderr
