"""How long `cav --help` and `cav list` (100 assets) take, as a ratio to importing typer and rich. The bar is 1.5.

    python tests/benchmarks/startup.py

Alternating runs in fresh processes, so that a busy machine slows all alike: median, and the median ratio to the run
just before with the interval that nine in ten ratios lie in. What it printed last is in startup.txt.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.cli.assets import put_motion  # noqa: E402

NUM_RUNS = 30
COMMANDS = {
    "import typer, rich.table": ["-c", "import typer, rich.table"],
    "cav --help": ["-m", "cavtool", "--help"],
    "cav list (100 assets)": ["-m", "cavtool", "list"],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        for number in range(100):
            put_motion(Path(home), f"motion-{number}")
        rounds = [[_seconds(command, home) for command in COMMANDS.values()] for _ in range(NUM_RUNS + 1)]
    columns = list(zip(*rounds[1:], strict=True))  # the first round fills the caches
    print(f"{'COMMAND':<26}{'MEDIAN':>8}{'RATIO':>8}   90 %")
    for name, seconds in zip(COMMANDS, columns, strict=True):
        ratios = [taken / base for taken, base in zip(seconds, columns[0], strict=True)]
        low, *_, high = statistics.quantiles(ratios, n=20)
        median = statistics.median(seconds) * 1e3
        print(f"{name:<26}{median:>5.0f} ms{statistics.median(ratios):>8.2f}   {low:.2f}-{high:.2f}")


def _seconds(arguments: list[str], home: str) -> float:
    started = time.perf_counter()
    environment = {**os.environ, "CAV_HOME": home}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment, cwd=REPOSITORY)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
