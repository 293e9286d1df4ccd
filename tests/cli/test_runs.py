"""`cav runs list`, `cav runs resume`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cavtool.runs import Runs
from tests.cli.conftest import Cav


@pytest.fixture
def root(home: Path) -> Path:
    return home / "state" / "runs"


def test_list_tells_how_each_run_stands(cav: Cav, root: Path) -> None:
    stopped = Runs(root).create("twirl", {"recipe": {"steps": 250}})
    stopped.checkpoint(50, lambda path: path.write_bytes(b"state"))
    done = Runs(root).create("zoom", {})
    done.finish("f" * 64)
    failed = Runs(root).create("bounce", {})
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
    assert told[stopped.id]["settings"] == {"recipe": {"steps": 250}}


def test_list_of_nothing(cav: Cav) -> None:
    assert json.loads(cav("runs", "list", "--json").stdout) == []
    assert cav("runs", "list").stdout.split() == ["ID", "MOTION", "STATUS", "STEP", "CREATED"]


def test_a_run_at_work_is_listed_as_running(cav: Cav, root: Path) -> None:
    run = Runs(root).create("twirl", {})
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
    run = Runs(root).create("twirl", {})
    done = cav("runs", "resume", run.id[:-1])
    assert done.returncode == 3
    assert done.stderr == f"error: no run `{run.id[:-1]}`\nhint: did you mean `{run.id}`?\n"
