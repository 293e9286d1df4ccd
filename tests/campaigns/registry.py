"""Many processes at one registry, and kills: `python -m tests.campaigns.registry [SECONDS] [PROCESSES] [ROUNDS]`.

The processes do random operations on the same five names. Every asset they read must be complete, and at the end every
asset that was put or copied and not deleted permanently must be in the registry or in the trash. Then the tests of
`tests/registry/test_killed.py` run for ROUNDS rounds.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool.registry import Registry
from cavtool.registry.trash import list_trash
from tests import nursery
from tests.benchmarks.tables import write_table
from tests.nursery import job
from tests.registry import samples

RESULTS = Path(__file__).parent / "results"


def operate(seconds: float, processes: int) -> list[tuple[str, str]]:
    """Rows of operations and their counts. Raises SystemExit if an asset was lost or read incomplete."""
    with TemporaryDirectory() as name, nursery.opened() as opened:
        root = Path(name) / "assets"
        codes = opened.run(*(job(samples.operate_at_random, root, number, seconds) for number in range(processes)))
        registry, done = Registry(root), samples.tally_of(root)
        for each in registry.names():
            registry.verify(each)
        present, removed = len(registry.names()), len(list_trash(registry))
    expected = done["put"] + done["copy"] - done["emptied"]
    lost = expected - present - removed
    rows = [(operation, str(count)) for operation, count in sorted(done.items())]
    rows += [("in the registry at the end", str(present)), ("in the trash", str(removed)), ("lost", str(lost))]
    if set(codes) != {0} or lost:
        raise SystemExit(f"exit codes {codes}\n{rows}")
    return rows


def kills(rounds: int) -> str:
    """The last line of pytest's output for the tests that kill processes."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/registry/test_killed.py"]
    environment = os.environ | {"CAV_KILL_ROUNDS": str(rounds)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout)
    return done.stdout.splitlines()[-1]


def main() -> None:
    given = [int(each) for each in sys.argv[1:]]
    seconds, processes, rounds = (*given, *(60, 16, 20)[len(given) :])
    rows = operate(seconds, processes)
    rows.append((f"tests with {16 * rounds} or more kills, at failpoints and at random moments", kills(rounds)))
    title = f"{processes} processes at one registry for {seconds} s, and kills"
    write_table("registry", title, ("operation", "count"), rows, folder=RESULTS)


if __name__ == "__main__":
    main()
