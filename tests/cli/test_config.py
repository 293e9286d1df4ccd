"""`cav config`, and the effect of settings."""

import json
import os
import sys
from pathlib import Path

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


def test_settings_are_set_shown_and_removed(cav: Cav, home: Path) -> None:
    header, first, *_ = cav("config", "list").stdout.splitlines()
    assert header.split() == ["KEY", "VALUE", "SOURCE", "DESCRIPTION"]
    assert first.split()[:3] == ["model", "cav-mini", "default"]
    assert cav("config", "set", "generate.steps", "40").stdout == "40\n"
    assert (home / "config" / "config.toml").read_text() == "[generate]\nsteps = 40\n"
    assert cav("config", "get", "generate.steps").stdout == "40\n"
    done = cav("config", "set", "generate.steps", "41", env={"CAV_GENERATE_STEPS": "9"})
    assert done == (0, "9\n", "warning: `CAV_GENERATE_STEPS` in the environment takes precedence\n")
    listed = json.loads(cav("config", "list", "--json").stdout)
    assert {"key": "generate.steps", "value": 41, "source": "file"} in listed
    assert cav("config", "unset", "generate.steps").stdout == "the model's\n"
    assert cav("config", "unset", "generate.steps").stderr == "note: `generate.steps` was not set\n"
    assert cav("config", "path").stdout == f"{home / 'config' / 'config.toml'}\n"


def test_unknown_settings(cav: Cav, home: Path) -> None:
    message = "error: no setting `generate.step`\nhint: did you mean `generate.steps`?\n"
    assert cav("config", "set", "generate.step", "40") == (2, "", message)
    cav("config", "set", "model", "cav-mini")
    with (home / "config" / "config.toml").open("a") as file:
        file.write("colour = 'red'\n")
    assert "warning: unknown setting `colour` in" in cav("config", "list").stderr


def test_edit_opens_the_users_editor(cav: Cav, home: Path, tmp_path: Path) -> None:
    assert cav("config", "edit", env={"EDITOR": "", "VISUAL": ""}).returncode == 6
    editor = tmp_path / "editor.py"
    editor.write_text("import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('model = 3')")
    done = cav("config", "edit", env={"VISUAL": f"{sys.executable} {editor}"})
    file = home / "config" / "config.toml"
    assert done == (2, "", f"error: `model` is text, not `3` (in `{file}`)\n")
    assert (home / "config" / "config.toml").read_text() == "model = 3"


def test_a_setting_is_a_default_that_an_option_overrides(cav: Cav) -> None:
    cav("config", "set", "device", "mps")
    assert "this machine has no `mps` device" in cav("generate", "a cat").stderr
    done = cav("generate", "a cat", "--device", "cpu", "--motion", "nothing")
    assert done.stderr == "error: no motion named `nothing`\nhint: `cav list` shows what there is\n"


def test_a_value_that_no_command_takes_is_refused_at_once(cav: Cav, home: Path) -> None:
    done = cav("config", "set", "generate.steps", "0")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "error: `generate.steps` must be from 1 to 500, not `0`",
    )
    assert cav("config", "set", "model", "nonsense").returncode == 3
    assert not (home / "config" / "config.toml").exists()


def test_an_invalid_value_is_reported_with_its_file_and_the_rest_is_used(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    cav("config", "set", "learn.rank", "8")
    file = home / "config" / "config.toml"
    file.write_text(file.read_text() + "[generate]\nsteps = 0\n")
    wrong = f"`generate.steps` must be from 1 to 500, not `0` (in `{file}`)"
    done = cav("config", "list")
    assert (done.returncode, done.stderr) == (0, f"warning: {wrong}\n")
    assert "learn.rank" in done.stdout
    assert cav("generate", "a cat").stderr.startswith(f"error: {wrong}\n")
    assert cav("generate", "--help").returncode == 0
    assert "no such file" in cav("learn", "x", "gone.mp4").stderr


def test_a_broken_file_does_not_break_the_help(cav: Cav, home: Path) -> None:
    cav("config", "set", "generate.steps", "40")
    (home / "config" / "config.toml").write_text("[generate")
    assert cav("--help").returncode == cav("learn", "--help").returncode == 0
    put_motion(home, "twirl")
    listed = cav("list")
    assert (listed.returncode, listed.stdout.count("twirl")) == (0, 1)
    assert listed.stderr.startswith("warning: `")
    assert "is not TOML" in listed.stderr
    done = cav("generate", "a cat")
    assert (done.returncode, done.stderr.splitlines()[1]) == (2, "hint: `cav config edit` opens it")


def test_shared_motions_are_listed_and_cannot_be_removed(cav: Cav, home: Path, tmp_path: Path) -> None:
    put_motion(home, "twirl")
    put_motion(tmp_path / "team", "twirl")
    put_motion(tmp_path / "team", "zoom")
    shared = tmp_path / "team" / "data" / "assets"
    cav("config", "set", "registry.paths", os.pathsep.join([str(shared), str(tmp_path / "nowhere")]))
    done = cav("list")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["twirl", "zoom"]
    assert done.stderr == f"note: `twirl` hides another of that name in `{shared}`\n"
    assert cav("rm", "zoom", "--yes").returncode == 4
    assert cav("rm", "z*", "--yes").returncode == 3
