"""Training in a detached process, which outlives this one."""

import subprocess
import sys
import time

from cavtool.errors import Conflict, TrainingError
from cavtool.runs import Run
from cavtool.system import platform


def start_detached(run: Run) -> None:
    """Resume a run of the default workspace in a detached process, whose output goes to the folder of the run.

    Returns when the run can be attached to. Raises TrainingError if the process ends before, Conflict if the run is
    deleted before.
    """
    command = [sys.executable, "-P", "-m", "cavtool", "runs", "resume", run.id]
    with (run.folder / "output.log").open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **platform.DETACHED)
    while run.exists and run.driver is None and run.status != "done":
        if process.poll() is not None:
            raise TrainingError(f"run `{run.id}` did not start: {run.last_output}")
        time.sleep(0.2)
    process.returncode = 0  # avoids Python's warning about a process that is still running
    if not run.exists:
        raise Conflict(f"run `{run.id}` was deleted before it started")
