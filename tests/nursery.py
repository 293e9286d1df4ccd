"""Real processes at a few milliseconds each: one small Python process, started once, forks a child for every job.

A job is a function of the tests with plain arguments. Its process can be killed at a failpoint or after some seconds.
The result of a job is its exit code: that of the command line for a CavError, -9 for a killed process.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cavtool.errors import CavError

KILLED = -getattr(signal, "SIGKILL", 9)  # Windows has no SIGKILL; the tests are skipped there


@dataclass(frozen=True)
class Job:
    """A call of `function(*args)` in a new process; the function must be importable by its name."""

    module: str
    function: str
    args: tuple[Any, ...]
    failpoint: str = ""
    kill_after: float | None = None


def job(function: Callable[..., object], *args: Any, failpoint: str = "", kill_after: float | None = None) -> Job:
    """A job that calls this function; paths are passed as text."""
    plain = tuple(str(arg) if isinstance(arg, Path) else arg for arg in args)
    return Job(function.__module__, function.__qualname__, plain, failpoint, kill_after)


class Nursery:
    """The side of the tests: sends jobs, receives exit codes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, *jobs: Job) -> None:
        """Start the jobs, all at the same time."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([asdict(job) for job in jobs]) + "\n")
        self._process.stdin.flush()

    def wait(self) -> list[int]:
        """Wait for the jobs started last; returns their exit codes."""
        assert self._process.stdout is not None
        codes: list[int] = json.loads(self._process.stdout.readline())
        return codes

    def run(self, *jobs: Job) -> list[int]:
        """Start the jobs and wait for them."""
        self.start(*jobs)
        return self.wait()


@contextmanager
def opened() -> Iterator[Nursery]:
    """A nursery for the duration of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.nursery"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        yield Nursery(process)


def main() -> None:
    """The side of the forking process: one line of jobs in, one line of exit codes out."""
    for line in sys.stdin:
        jobs = [Job(**fields) for fields in json.loads(line)]
        children = [_fork(job) for job in jobs]
        for child, job in zip(children, jobs, strict=True):
            if job.kill_after is not None:
                time.sleep(job.kill_after)
                os.kill(child, signal.SIGKILL)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


def _fork(job: Job) -> int:
    function = getattr(importlib.import_module(job.module), job.function)
    if child := os.fork():
        return child
    os.environ["CAV_FAILPOINT"] = job.failpoint
    try:
        function(*job.args)
    except CavError as error:
        os._exit(error.exit_code)
    except SystemExit as ended:  # of a job that calls the program
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
    except BaseException:  # noqa: BLE001 - a child must not return into its parent's loop
        traceback.print_exc()
        os._exit(99)
    os._exit(0)


if __name__ == "__main__":
    main()
