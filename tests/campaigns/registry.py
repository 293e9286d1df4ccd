"""A crowd at one registry, and hundreds of kills: `python -m tests.campaigns.registry [SECONDS] [PROCESSES] [ROUNDS]`.

The crowd does all that can be done to a registry, to the same five names; every asset seen must be whole, and at the
end all that was put or copied, and not deleted for good, must be there or in the trash. Then the tests of
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
from tests.benchmarks.common import write_table
from tests.nursery import job
from tests.registry import samples

RESULTS = Path(__file__).parent / "results"


def crowd(seconds: float, processes: int) -> list[tuple[str, str]]:
    """Rows of what was done how often; SystemExit where anything was lost or seen half."""
    with TemporaryDirectory() as name, nursery.opened() as opened:
        root = Path(name) / "assets"
        codes = opened.run(*(job(samples.jostle, root, number, seconds) for number in range(processes)))
        registry, done = Registry(root), samples.tally_of(root)
        for each in registry.names():
            registry.verify(each)
        there, thrown = len(registry.names()), len(list_trash(registry))
    kept = done["put"] + done["copy"] - done["emptied"]
    rows = [(what, str(count)) for what, count in sorted(done.items())]
    rows += [("there at the end", str(there)), ("in the trash", str(thrown)), ("lost", str(kept - there - thrown))]
    if set(codes) != {0} or kept != there + thrown:
        raise SystemExit(f"exit codes {codes}\n{rows}")
    return rows


def kills(rounds: int) -> str:
    """What pytest says of the tests that kill, last."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/registry/test_killed.py"]
    asked = os.environ | {"CAV_KILL_ROUNDS": str(rounds)}
    done = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout)
    return done.stdout.splitlines()[-1]


def main() -> None:
    given = [int(each) for each in sys.argv[1:]]
    seconds, processes, rounds = (*given, *(60, 16, 20)[len(given) :])
    rows = crowd(seconds, processes)
    rows.append((f"tests that kill: {16 * rounds} or more at every failpoint, and at any moment", kills(rounds)))
    title = f"A crowd of {processes} processes at one registry for {seconds} s, and kills"
    write_table("registry", title, ("what", "how often"), rows, folder=RESULTS)


if __name__ == "__main__":
    main()
