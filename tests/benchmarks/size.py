"""A registry of 10,000 assets: `python -m tests.benchmarks.size [NUM_ASSETS]`.

The time of `cav list` and of completion at the tab key, each in fresh processes: median of several runs, least and
most; beside it the same with a tenth as many assets. On a busy machine only the CPU time can be compared with the bar.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.startup import Seconds, run
from tests.benchmarks.tables import installed, write_table
from tests.cli.assets import put_motion

NUM_RUNS = 5
BARS = {"list": "1.5 s", "completion of `--motion `": "0.3 s", "completion of `--motion motion-77`": "0.3 s"}


def fill(home: Path, count: int) -> None:
    """Copy one asset to other names, without the fsync of a real put."""
    folder = put_motion(home, "motion-0").folder
    record, weights = (folder / "record.toml").read_text(), folder / "weights.safetensors"
    for number in range(1, count):
        other = folder.with_name(f"motion-{number}")
        other.mkdir()
        (other / "record.toml").write_text(record.replace('"motion-0"', f'"motion-{number}"'))
        (other / weights.name).hardlink_to(weights)


def cav(*arguments: str, home: Path, **asked: str) -> Seconds:
    """The time of one `cav`."""
    variables = {**installed(str(home / "bytecode")), "CAV_HOME": str(home), **asked}
    return run(["-m", "cavtool", *arguments], variables)


def completion(line: str, home: Path) -> Seconds:
    """The time the shell waits for the words that may follow `line`."""
    asked = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": line}
    return cav(home=home, _CAV_COMPLETE="complete_fish", **asked)


MEASURED: dict[str, Callable[[Path], Seconds]] = {
    "list": lambda home: cav("list", home=home),
    "completion of `--motion `": lambda home: completion("cav generate x --motion ", home),
    "completion of `--motion motion-77`": lambda home: completion("cav generate x --motion motion-77", home),
}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    columns = []
    for each in (count // 10, count):
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name), each)
            for measure in MEASURED.values():  # compiles the modules
                measure(Path(name))
            columns.append({what: [one(Path(name)) for _ in range(NUM_RUNS)] for what, one in MEASURED.items()})
    few, many = columns
    rows = [(what, *_spreads(few[what]), *_spreads(many[what]), BARS[what]) for what in MEASURED]
    sizes = [f"{each} assets, {time}" for each in (count // 10, count) for time in ("wall", "CPU")]
    titles = (f"median [least, most] of {NUM_RUNS}", *sizes, "bar")
    write_table("size", f"A registry of {count} assets, on {os.cpu_count()} cores", titles, rows)


def _spreads(runs: list[Seconds]) -> Iterator[str]:
    for values in zip(*runs, strict=True):
        yield f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}] s"


if __name__ == "__main__":
    main()
