"""A registry of 10,000 assets: `python -m tests.benchmarks.size [NUM_ASSETS]`.

The time of `cav list` and of completion at the tab key, each in fresh processes: median of several runs, least and
most; beside it the same with a tenth as many assets.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.common import installed, write_table
from tests.cli.assets import put_motion

NUM_RUNS = 7
BARS = {"list": "1.5 s", "completion of `--motion `": "0.3 s", "completion of `--motion motion-77`": "0.3 s"}


def fill(home: Path, count: int) -> None:
    """Copies of one asset under other names, without the fsync of a real put."""
    folder = put_motion(home, "motion-0").folder
    record, weights = (folder / "record.toml").read_text(), folder / "weights.safetensors"
    for number in range(1, count):
        other = folder.with_name(f"motion-{number}")
        other.mkdir()
        (other / "record.toml").write_text(record.replace('"motion-0"', f'"motion-{number}"'))
        (other / weights.name).hardlink_to(weights)


def seconds(*arguments: str, home: Path, **asked: str) -> float:
    """The time of one `cav`."""
    environment = {**installed(str(home / "bytecode")), "CAV_HOME": str(home), **asked}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "cavtool", *arguments], check=True, capture_output=True, env=environment)
    return time.perf_counter() - began


def completion(line: str, home: Path) -> float:
    """The time the shell waits for the words that may follow `line`."""
    asked = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": line}
    return seconds(home=home, _CAV_COMPLETE="complete_fish", **asked)


MEASURED: dict[str, Callable[[Path], float]] = {
    "list": lambda home: seconds("list", home=home),
    "completion of `--motion `": lambda home: completion("cav generate x --motion ", home),
    "completion of `--motion motion-77`": lambda home: completion("cav generate x --motion motion-77", home),
}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    columns = []
    for each in (count // 10, count):
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name), each)
            for run in MEASURED.values():  # compiles the modules
                run(Path(name))
            columns.append({what: [run(Path(name)) for _ in range(NUM_RUNS)] for what, run in MEASURED.items()})
    few, many = columns
    rows = [(what, _spread(few[what]), _spread(many[what]), BARS.get(what, "")) for what in MEASURED]
    titles = (f"median [least, most] of {NUM_RUNS}", f"{count // 10} assets", f"{count} assets", "bar")
    write_table("size", f"A registry of {count} assets, on {os.cpu_count()} cores", titles, rows)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}] s"


if __name__ == "__main__":
    main()
