"""How long `cav --help` and `cav list` (100 assets) take, as a ratio to importing what they are made of.

    python tests/benchmarks/startup.py

Medians of alternating runs in fresh processes, so that a busy machine slows all alike. The bar is 1.5.
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

NUM_RUNS = 25
COMMANDS = {
    "import typer, rich.table": ["-c", "import typer, rich.table"],
    "cav --help": ["-m", "cavtool", "--help"],
    "cav list (100 assets)": ["-m", "cavtool", "list"],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        for number in range(100):
            put_motion(Path(home), f"motion-{number}")
        seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(NUM_RUNS + 1):
            for name, arguments in COMMANDS.items():
                seconds[name].append(_seconds(arguments, home))
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}  # the first fills the caches
    base = next(iter(medians.values()))
    print(f"{'COMMAND':<26}{'MEDIAN':>9}{'FASTEST':>9}{'RATIO':>7}")
    for name, median in medians.items():
        print(f"{name:<26}{median * 1e3:>6.0f} ms{min(seconds[name]) * 1e3:>6.0f} ms{median / base:>7.2f}")


def _seconds(arguments: list[str], home: str) -> float:
    started = time.perf_counter()
    environment = {**os.environ, "CAV_HOME": home}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment, cwd=REPOSITORY)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
