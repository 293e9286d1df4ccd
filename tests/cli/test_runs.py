"""`cav runs`."""

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


def test_list_shows_the_status_of_each_run(cav: Cav, root: Path) -> None:
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
    listed = {run["id"]: run for run in json.loads(cav("runs", "list", "--json").stdout)}
    assert listed[failed.id]["reason"] == "the loss is not finite"
    settings = listed[stopped.id]["settings"]
    assert list(settings) == ["replace", "clip", "recipe", "revision"]
    assert (settings["recipe"]["steps"], settings["clip"]["num_frames"]) == (250, 16)


def test_no_runs(cav: Cav) -> None:
    assert json.loads(cav("runs", "list", "--json").stdout) == []
    assert cav("runs", "list").stdout.split() == ["ID", "MOTION", "STATUS", "STEP", "CREATED"]


def test_a_run_that_a_process_drives_is_running(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    script = f"import sys, pathlib; from cavtool.runs import Run\nwith Run(pathlib.Path({str(run.folder)!r})).lock():\n"
    script += "    print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    ) as driver:
        assert driver.stdout
        driver.stdout.readline()
        (listed,) = json.loads(cav("runs", "list", "--json").stdout)
        driver.communicate()
    assert listed["status"] == "running"


def test_an_unknown_run_has_a_suggestion(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    message = f"error: no run `{run.id[1:]}`\nhint: did you mean `{run.id}`?\n"
    assert cav("runs", "resume", run.id[1:]) == (3, "", message)


def test_a_damaged_record_is_reported_in_one_line(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    file = run.folder / "run.toml"
    file.write_text(file.read_text().replace("steps = 250", "steps = 250\nmomentum = 0.9"))
    message = f"`run.toml` of run `{run.id}` has an unknown key: `recipe.momentum`"
    assert cav("runs", "resume", run.id) == (5, "", f"error: {message}\n")
    assert cav("runs", "list").stderr == f"warning: {message}\n"
    answer = json.loads(cav("runs", "resume", run.id, "--json").stdout)
    assert answer["error"] == {"code": "integrity-failure", "message": message, "hint": None}


def test_the_events_of_an_ended_run(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    run.log({"event": "step", "stage": "old", "step": 1, "num_steps": 2, "loss": 0.5, "seconds": 1.0})
    run.log({"event": "stage", "name": "motion", "index": 1, "count": 1})
    run.log({"event": "step", "stage": "motion", "step": 2, "num_steps": 2, "loss": 0.25, "seconds": 2.0})
    attached = cav("runs", "attach", run.id)
    assert (attached.returncode, attached.stdout) == (1, "")
    first, second, *_ = attached.stderr.splitlines()
    assert (first, second.split()[:3]) == ("[1/1] motion", ["motion", "2/2", "loss"])
    ending = f"run `{run.id}` was stopped after 0 steps"
    assert attached.stderr.endswith(f"error: {ending}\nhint: continue with `cav runs resume {run.id}`\n")
    logs = cav("runs", "logs", run.id)
    assert [line.split()[:3] for line in logs.stdout.splitlines()[1:]] == [
        ["old", "1/2", "0.5000"],
        ["motion", "2/2", "0.2500"],
    ]
    assert logs.stderr == f"note: {ending}\n"
    assert cav("runs", "stop", run.id).returncode == 3


def test_runs_are_deleted_with_yes(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    assert cav("runs", "rm", run.id).returncode == 2
    assert cav("runs", "rm", "twirl-*", "--yes") == (0, f"{run.id}\n", "")
    assert list(root.iterdir()) == []


def test_ids_may_be_shortened_and_a_dry_run_deletes_nothing(cav: Cav, root: Path) -> None:
    run, other = begin(root, "twirl"), begin(root, "zoom")
    assert cav("runs", "rm", "twirl", "--dry-run") == (0, f"{run.id}\n", "")
    assert cav("runs", "list", "-q").stdout.split() == sorted([run.id, other.id], reverse=True)
    assert cav("runs", "logs", "zoo").returncode == 0
    assert cav("runs", "logs", "latest").returncode == 0
    done = cav("runs", "rm", "twirl", "zoom", "bounce", "--yes", "--json")
    data = json.loads(done.stdout)["data"]
    assert (done.returncode, data["deleted"]) == (3, [run.id, other.id])
    assert [(each["name"], each["code"]) for each in data["failed"]] == [("bounce", "not-found")]


def test_a_damaged_run_is_named_and_can_be_deleted(cav: Cav, root: Path) -> None:
    good, torn = begin(root, "twirl"), begin(root, "zoom")
    (torn.folder / "run.toml").write_text("name = 3\nsettings = 4\n")
    (root / "odd").mkdir()
    done = cav("runs", "list")
    assert (done.returncode, done.stdout.count(good.id)) == (0, 1)
    assert f"`run.toml` of run `{torn.id}`" in done.stderr
    assert "`run.toml` of run `odd` cannot be read" in done.stderr
    assert cav("runs", "attach", torn.id).returncode == 5
    assert cav("runs", "rm", torn.id, "odd", "--yes").returncode == 0
    assert cav("runs", "list").stderr == ""


def test_following_the_log_ends_with_the_run_and_shows_no_memory(cav: Cav, root: Path) -> None:
    run = begin(root, "twirl")
    run.log({"event": "stage", "name": "motion", "index": 1, "count": 1})
    run.log({"event": "step", "stage": "motion", "step": 2, "num_steps": 2, "loss": 0.25, "seconds": 2.0})
    done = cav("runs", "logs", run.id, "-f")
    assert (done.returncode, done.stdout) == (0, "motion  2/2  0.2500  2.0 s\n")
    assert json.loads(cav("runs", "logs", run.id, "-f", "--json").stdout)["loss"] == 0.25
    assert "GB" not in cav("runs", "attach", run.id).stderr
