"""`cav learn --detach`, and what can be done with a run in the background."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cavtool.workspace import Workspace

pytestmark = pytest.mark.slow
SHORT = ["--steps", "3", "--absorber-steps", "2", "--rank", "2", "--batch-size", "1"]
LONG = ["--steps", "5000", "--absorber-steps", "2", "--rank", "2", "--batch-size", "1"]


def cav(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cavtool", *arguments], capture_output=True, text=True, timeout=300, check=False
    )


def test_a_run_in_the_background_is_attached_to_and_ends_in_a_motion(circle: Path) -> None:
    begun = cav("learn", "circle", str(circle), *SHORT, "--detach")
    assert begun.returncode == 0, begun.stderr
    run_id = begun.stdout.strip()
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


def test_a_run_in_the_background_is_stopped_and_says_why_it_ended(circle: Path) -> None:
    run_id = cav("learn", "circle", str(circle), *LONG, "--detach").stdout.strip()
    run = Workspace().runs.open(run_id)
    assert cav("runs", "rm", run_id, "--yes").returncode == 4
    while not run.events():
        time.sleep(0.1)
    stopped = cav("runs", "stop", run_id)
    assert (stopped.returncode, stopped.stdout) == (0, f"{run_id}\n"), stopped.stderr
    assert f"`cav runs resume {run_id}` goes on with it" in stopped.stderr
    assert (run.status, run.driver) == ("stopped", None)
    assert run.step > 0
    watched = cav("runs", "attach", run_id)
    assert watched.returncode == 1
    assert f"run `{run_id}` was stopped after {run.step} steps" in watched.stderr
    assert Workspace().registry.names() == []


def test_a_run_deleted_while_it_starts_says_so(circle: Path) -> None:
    command = [sys.executable, "-m", "cavtool", "learn", "circle", str(circle), *LONG, "--detach"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (starting := [run for run in Workspace().runs.list() if (run.folder / "output.log").exists()]):
            assert process.poll() is None
            time.sleep(0.05)
        starting[0].remove()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, "")
    assert f"run `{starting[0].id}` was deleted before it began" in err
    assert Workspace().runs.list() == []


def test_a_run_that_cannot_start_says_so(circle: Path, home: Path) -> None:
    begun = cav("learn", "circle", str(circle), *SHORT, "--detach", "--model", str(home))
    assert begun.returncode == 3
    assert begun.stdout == ""
