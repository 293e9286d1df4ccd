"""How long `cav --help` and `cav list` (100 assets) take, as a ratio to importing typer and rich. The bar is 1.5.

`python -m tests.benchmarks.startup`: alternating runs in fresh processes, so that a busy machine slows all alike; the
median, and the median ratio to the run just before with the interval that nine in ten ratios lie in.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import write_table
from tests.cli.assets import put_motion

NUM_RUNS = 30
COMMANDS = {
    'python -c "import typer, rich.table"': ["-c", "import typer, rich.table"],
    "cav --help": ["-m", "cavtool", "--help"],
    "cav list (100 assets)": ["-m", "cavtool", "list"],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        for number in range(100):
            put_motion(Path(home), f"motion-{number}")
        rounds = [[_seconds(command, home) for command in COMMANDS.values()] for _ in range(NUM_RUNS + 1)]
    columns = list(zip(*rounds[1:], strict=True))  # the first round fills the caches
    rows = []
    for name, seconds in zip(COMMANDS, columns, strict=True):
        ratios = [taken / base for taken, base in zip(seconds, columns[0], strict=True)]
        low, *_, high = statistics.quantiles(ratios, n=20)
        median = statistics.median(seconds) * 1e3
        rows.append((f"`{name}`", f"{median:.0f} ms", f"{statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]"))
    write_table("startup", f"Start-up on {os.cpu_count()} cores", ("command", "median", "ratio"), rows)


def _seconds(arguments: list[str], home: str) -> float:
    started = time.perf_counter()
    environment = {**os.environ, "CAV_HOME": home}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
