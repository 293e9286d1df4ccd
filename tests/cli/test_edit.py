"""`cav edit`: what it refuses before torch loads, and one edit of a real file."""

import json
from pathlib import Path

import pytest

from cavtool.recipes import Blend, EditRecipe, EditStart
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--strength", "2"], 2, "error: `--strength` must be from 0 to 1"),
        (["--strength", "much"], 2, "error: invalid value for `--strength`"),
        (["--start", "middle"], 2, "error: invalid value for `--start`"),
        (["--steps", "0"], 2, "error: `--steps` must be from 1 to"),
        (["--motion", "twril"], 3, "hint: did you mean `twirl`?"),
        (["--motion", "twirl-look"], 3, "`twirl-look` is an absorber"),
        (["--motion", ":0.5"], 2, "error: a motion needs a name"),
    ],
)
def test_an_invalid_recipe_is_refused(
    cav: Cav, home: Path, video: Path, options: list[str], code: int, message: str
) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    done = cav("edit", str(video), "a cat", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert list(video.parent.glob("*.mp4")) == [video]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pyproject.toml", ""], "error: the prompt is empty"),
        (["pyproject.toml"], "error: missing argument `prompt`"),
    ],
)
def test_an_invalid_line_is_refused(cav: Cav, arguments: list[str], message: str) -> None:
    done = cav("edit", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_missing_file_is_not_found(cav: Cav) -> None:
    assert cav("edit", "gone.mp4", "a cat") == (3, "", "error: no such file: `gone.mp4`\nhint: check the path\n")


def test_the_help_shows_the_defaults_of_the_recipe(cav: Cav) -> None:
    text, motion = " ".join(cav("edit", "--help").stdout.split()), (Blend("twirl"),)
    assert (EditRecipe("x").share, EditRecipe("x", motions=motion).share) == (0.9, 1.0)
    assert EditRecipe("x", motions=motion, start=EditStart.NOISE).share == 0.9  # 1 would ignore the video
    assert "(default: 0.9, or 1 for a motion with ddim)" in text
    for option in ("--steps <int> Sampling steps", "--guidance <float> Guidance scale"):
        assert f"{option} (default: the model's)" in text
    assert "<ddim|noise>" in text


@pytest.mark.slow
def test_an_edit_is_written_listed_and_made_again(
    cav: Cav, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prompt = "a blue rocket in the forest"
    options = ("--source-prompt", "a red cat", "--steps", "2", "--strength", "0.5", "--guidance", "1")
    done = cav("edit", "clip.mp4", prompt, *options, "--json")
    *events, result = map(json.loads, done.stdout.splitlines())
    assert (result["ok"], result["data"]) == (True, {"files": ["clip-a-blue-rocket-in-the-forest.mp4"]}), done.stderr
    assert [event["name"] for event in events if event["event"] == "stage"] == ["inverting", "sampling"]
    made = Path(result["data"]["files"][0])
    (row,) = cav("history").stdout.splitlines()[1:]
    assert row.endswith(f"{prompt}  -        -     {tmp_path / made}")
    again = cav("history", "--again", "1", "-o", "again.mp4")
    assert (again.returncode, again.stdout) == (0, "again.mp4\n"), again.stderr
    assert Path("again.mp4").read_bytes() == made.read_bytes()
    refused = cav("edit", "clip.mp4", prompt, *options)
    assert (refused.returncode, f"`{made}` already exists" in refused.stderr) == (4, True)
    refused = cav("generate", "--like", str(made))
    assert (refused.returncode, "`cav edit` made it" in refused.stderr) == (2, True)
    video.unlink()
    gone = cav("history", "--again", "1", "-o", "third.mp4")
    assert (gone.returncode, "no such file" in gone.stderr) == (3, True)
