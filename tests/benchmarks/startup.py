"""Start-up time of `cav` as a ratio to importing typer and rich. The bar is 1.5.

`python -m tests.benchmarks.startup`: the commands take turns, each in a new process, so that a busy machine slows all
of them alike. The least of all runs is shown. CPU time (user and system) hardly depends on other load, wall time does.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.tables import installed, write_table
from tests.cli.assets import put_motion

NUM_RUNS = 30
CAV = ["-c", "from cavtool.__main__ import main; main()"]  # like the installed script


class Seconds(NamedTuple):
    """The wall time and the CPU time of one process."""

    wall: float
    cpu: float


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as empty,
        tempfile.TemporaryDirectory() as full,
        tempfile.TemporaryDirectory() as bytecode,
    ):
        for number in range(100):
            put_motion(Path(full), f"motion-{number}")
        commands = {
            'python -c "import typer, rich"': (["-c", "import typer, rich"], empty),
            "cav --help": ([*CAV, "--help"], empty),
            "cav list": ([*CAV, "list"], empty),
            "cav list (100 assets)": ([*CAV, "list"], full),
        }
        rounds = [
            [run(line, {**installed(bytecode), "CAV_HOME": home}) for line, home in commands.values()]
            for _ in range(NUM_RUNS + 1)
        ]
    base, *_ = columns = list(zip(*rounds[1:], strict=True))  # the first round compiles the modules
    rows = [(f"`{name}`", *_cells(column, base)) for name, column in zip(commands, columns, strict=True)]
    titles = (f"least of {NUM_RUNS}", "wall", "ratio", "CPU", "ratio")
    write_table("startup", f"Start-up on {os.cpu_count()} cores", titles, rows)


def _cells(runs: Sequence[Seconds], base: Sequence[Seconds]) -> Iterator[str]:
    for ours, theirs in zip(zip(*runs, strict=True), zip(*base, strict=True), strict=True):
        yield f"{min(ours) * 1e3:.0f} ms"
        yield f"{min(ours) / min(theirs):.2f}"


def run(arguments: list[str], variables: dict[str, str]) -> Seconds:
    """The time of one Python process; its output is dropped."""
    command = [sys.executable, *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return Seconds(wall, usage.ru_utime + usage.ru_stime)


if __name__ == "__main__":
    main()
