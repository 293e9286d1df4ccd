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
    assert done == (2, "", "error: `model` is text, not `3`\n")
    assert (home / "config" / "config.toml").read_text() == "model = 3"


def test_a_setting_is_a_default_that_an_option_overrides(cav: Cav) -> None:
    cav("config", "set", "generate.steps", "0")
    assert "`--steps` must be from 1" in cav("generate", "a cat").stderr
    done = cav("generate", "a cat", "--steps", "5", "--motion", "nothing")
    assert done.stderr == "error: no motion named `nothing`\nhint: `cav list` shows what there is\n"


def test_a_broken_file_does_not_break_the_help(cav: Cav, home: Path) -> None:
    cav("config", "set", "generate.steps", "40")
    (home / "config" / "config.toml").write_text("[generate")
    assert cav("--help").returncode == 0
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
