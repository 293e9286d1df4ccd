"""`cav mix`, and mixes in other commands."""

import json
import tomllib
from pathlib import Path

import pytest

from cavtool.recipes import SampleRecipe, parse_blend
from cavtool.workspace import Workspace
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav
from tests.core.test_mix import lora_of
from tests.studio.test_mix import put


@pytest.fixture
def _motions() -> None:
    for seed, name in enumerate(("twirl", "zoom")):
        put(name, lora_of(seed, 2))


@pytest.mark.usefixtures("_motions")
def test_a_mix_is_a_motion_with_parents(cav: Cav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cav("mix", "both", "twirl", "zoom:0.7")
    asset = Workspace().registry.get("both", "motion")
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["both", asset.record.short_id])
    note, hint = done.stderr.splitlines()
    assert note.startswith("note: mixed motions disturb each other; `cav generate` with all of them and `--turns`")
    assert hint == 'hint: try `cav generate "ironman" --motion both`'
    shown = tomllib.loads(cav("show", "both", "--toml").stdout)
    assert [(each["name"], each["weight"]) for each in shown["parents"]] == [("twirl", 1.0), ("zoom", 0.7)]
    assert cav("list").stdout.splitlines()[1].split()[:4] == ["both", "motion", "cav-mini", "4"]
    other = {"CAV_HOME": str(tmp_path / "other")}
    assert cav("export", "both").returncode == cav("import", "both.cav", env=other).returncode == 0
    assert tomllib.loads(cav("show", "both", "--toml", env=other).stdout)["parents"] == shown["parents"]
    assert cav("verify").returncode == cav("verify", env=other).returncode == 0


@pytest.mark.usefixtures("_motions")
def test_a_lower_rank_is_reported(cav: Cav) -> None:
    done = cav("mix", "small", "twirl", "zoom", "--rank", "3")
    assert done.stderr.startswith("note: rank 3 of 4 keeps ")
    assert cav("mix", "quiet", "twirl", "zoom", "--rank", "3", "-q").stderr == ""
    answer = json.loads(cav("mix", "small", "twirl", "zoom", "--rank", "3", "--force", "--json").stdout)
    assert (answer["ok"], answer["command"], answer["data"]["rank"]) == (True, "mix", 3)
    assert 0 < answer["data"]["metrics"]["relative_error"] < 1


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("both twirl", 2, "a mix needs at least two motions\nhint: `cav cp NAME NEW` copies one"),
        ("both twirl twirl:2", 2, "`twirl` is named twice\nhint: name it once, with the sum of its weights"),
        ("both twirl :2", 2, "a motion needs a name\nhint: write `--motion twirl` or `--motion twirl:0.7`"),
        ("both twirl tilt:nan", 2, "the weight of `tilt` must be a finite number, not nan"),
        ("both twirl tilt:inf", 2, "the weight of `tilt` must be a finite number, not inf"),
        ("both twirl tilt:0", 2, "the weight of `tilt` is 0\nhint: leave the motion out"),
        ("both twirl tlit", 3, "no motion named `tlit`\nhint: did you mean `tilt`?"),
        ("both twirl twirl-look", 3, "no motion named `twirl-look`\nhint: `twirl-look` is an absorber"),
        ("tilt twirl nothing", 4, "`tilt` already exists\nhint: choose another name, or pass `--force` to replace it"),
        (
            "twirl-look twirl tilt --force",
            4,
            (
                "`twirl-look` is an existing absorber, which no motion can replace\n"
                "hint: choose another name, or `cav rm twirl-look` first"
            ),
        ),
        ("both twirl tilt --rank 0", 2, "`--rank` must be at least 1"),
    ],
)
def test_errors_have_one_line_and_a_hint(cav: Cav, home: Path, line: str, code: int, error: str) -> None:
    put_motion(home, "twirl")
    put_motion(home, "tilt")
    put_motion(home, "twirl-look", kind="absorber")
    assert cav("mix", *line.split()) == (code, "", f"error: {error}\n")


def test_an_invalid_window_is_an_error_of_generate(cav: Cav) -> None:
    done = cav("generate", "ironman", "--motion", "twirl:0.7@0.5-0.2")
    hint = "hint: 0 is the start of the sampling, pure noise, and 1 its end: `twirl@0-0.5`\n"
    message = "error: the window of `twirl` must be from 0 to 1 and end after its start\n"
    assert done == (2, "", message + hint)


def test_the_history_shows_windows(cav: Cav) -> None:
    blends = tuple(map(parse_blend, ("twirl", "zoom:0.7@0-0.5")))
    Workspace().history.add(SampleRecipe("ironman", blends, seed=3), [])
    assert "ironman  twirl:1 zoom:0.7@0-0.5  3" in cav("history").stdout
