"""`cav runs list`, `cav runs resume`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cav
from tests.runs.samples import begin


@pytest.fixture
def root(home: Path) -> Path:
    return home / "state" / "runs"


def test_list_tells_how_each_run_stands(cav: Cav, root: Path) -> None:
    stopped = begin(root, "twirl")
    stopped.checkpoint(50, lambda path: path.write_bytes(b"state"))
    done = begin(root, "zoom")
    done.finish("f" * 64)
    failed = begin(root, "bounce")
    failed.fail("the loss is not finite")
    header, *rows = cav("runs", "list").stdout.splitlines()
    assert header.split() == ["ID", "MOTION", "STATUS", "STEP", "CREATED"]
    assert {tuple(row.split()[:4]) for row in rows} == {
        (stopped.id, "twirl", "stopped", "50"),
        (done.id, "zoom", "done", "0"),
        (failed.id, "bounce", "failed", "0"),
    }
    told = {run["id"]: run for run in json.loads(cav("runs", "list", "--json").stdout)}
    assert told[failed.id]["reason"] == "the loss is not finite"
    settings = told[stopped.id]["settings"]
    assert list(settings) == ["replace", "clip", "recipe", "revision"]
    assert (settings["recipe"]["steps"], settings["clip"]["num_frames"]) == (250, 16)


def test_list_of_nothing(cav: Cav) -> None:
    assert json.loads(cav("runs", "list", "--json").stdout) == []
    assert cav("runs", "list").stdout.split() == ["ID", "MOTION", "STATUS", "STEP", "CREATED"]


def test_a_run_at_work_is_listed_as_running(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    script = f"import sys, pathlib; from cavtool.runs import Run\nwith Run(pathlib.Path({str(run.folder)!r})).lock():\n"
    script += "    print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    ) as driver:
        assert driver.stdout
        driver.stdout.readline()
        (told,) = json.loads(cav("runs", "list", "--json").stdout)
        driver.communicate()
    assert told["status"] == "running"


def test_resume_offers_the_closest_run(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    done = cav("runs", "resume", run.id[:-1])
    assert done.returncode == 3
    assert done.stderr == f"error: no run `{run.id[:-1]}`\nhint: did you mean `{run.id}`?\n"


def test_resume_of_a_damaged_record_ends_in_one_line(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    file = run.folder / "run.toml"
    file.write_text(file.read_text().replace("steps = 250", "steps = 250\nmomentum = 0.9"))
    message = f"`run.toml` of run `{run.id}` has an unknown key: `recipe.momentum`"
    done = cav("runs", "resume", run.id)
    assert (done.returncode, done.stdout, done.stderr) == (5, "", f"error: {message}\n")
    answer = json.loads(cav("runs", "resume", run.id, "--json").stdout)
    assert answer["error"] == {"code": "integrity-failure", "message": message, "hint": None}
