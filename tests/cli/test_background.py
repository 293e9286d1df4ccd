"""`cav learn --detach`, and the commands for a run in a detached process."""

import json
import time
from pathlib import Path

import pytest

from cavtool.workspace import Workspace
from tests.cli.conftest import Cav
from tests.forked import ForkedCav

SHORT = ["--steps", "3", "--absorber-steps", "2", "--rank", "2", "--batch-size", "1"]
LONG = ["--steps", "5000", "--absorber-steps", "2", "--rank", "2", "--batch-size", "1"]


@pytest.mark.slow
def test_a_detached_run_is_watched_until_its_motion_is_learned(cav: Cav, circle: Path) -> None:
    started = cav("learn", "circle", str(circle), *SHORT, "--detach")
    assert started.returncode == 0, started.stderr
    run_id = started.stdout.strip()
    watched = cav("runs", "attach", run_id)
    assert (watched.returncode, watched.stdout) == (0, "circle\n"), watched.stderr
    assert "[2/3] motion" in watched.stderr
    assert "preview  25/25" in watched.stderr
    assert Workspace().registry.names() == ["circle", "circle-look"]
    losses = json.loads(cav("runs", "logs", run_id, "--json").stdout)
    assert [(each["stage"], each["step"]) for each in losses[:5]] == [
        *(("absorber", step) for step in (1, 2)),
        *(("motion", step) for step in (1, 2, 3)),
    ]
    assert cav("runs", "stop", run_id).returncode == 3
    assert cav("runs", "rm", "circle-*", "--yes").stdout == f"{run_id}\n"
    assert Workspace().runs.list() == []


@pytest.mark.slow
def test_a_detached_run_is_stopped_and_says_why_it_ended(cav: Cav, circle: Path) -> None:
    run_id = cav("learn", "circle", str(circle), *LONG, "--detach").stdout.strip()
    run = Workspace().runs.open(run_id)
    assert cav("runs", "rm", run_id, "--yes").returncode == 4
    while not run.events():
        time.sleep(0.1)
    stopped = cav("runs", "stop", run_id)
    assert (stopped.returncode, stopped.stdout) == (0, f"{run_id}\n"), stopped.stderr
    assert f"continue with `cav runs resume {run_id}`" in stopped.stderr
    assert (run.status, run.driver) == ("stopped", None)
    assert run.step > 0
    watched = cav("runs", "attach", run_id)
    assert watched.returncode == 1
    assert f"run `{run_id}` was stopped after {run.step} steps" in watched.stderr
    assert Workspace().registry.names() == []


@pytest.mark.slow
def test_a_run_deleted_while_it_starts_says_so(forked_cav: ForkedCav, circle: Path) -> None:
    forked_cav.start("learn", "circle", str(circle), *LONG, "--detach")
    end = time.monotonic() + 120
    while not (starting := [run for run in Workspace().runs.list() if (run.folder / "output.log").exists()]):
        assert time.monotonic() < end, "no detached process was started"
        time.sleep(0.05)
    starting[0].remove()
    done = forked_cav.wait()
    assert (done.returncode, done.stdout) == (4, "")
    assert f"run `{starting[0].id}` was deleted before it started" in done.stderr
    assert Workspace().runs.list() == []


def test_a_run_that_cannot_start_says_so(cav: Cav, circle: Path, home: Path) -> None:
    started = cav("learn", "circle", str(circle), *SHORT, "--detach", "--model", str(home))
    assert (started.returncode, started.stdout) == (3, "")
    assert f"{home}" in started.stderr
