"""`cav learn` processes killed at random moments: `python -m tests.campaigns.learns [NUM_KILLS] [SEED]`.

Every other one is killed within a quarter of a second after its last step, while absorber and motion are saved to the
registry. After each kill `cav verify` must find nothing, every earlier asset must be unchanged, and `cav runs resume`
(or the same `cav learn`, if the run had not begun) must end with the motion.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool.registry import Registry
from tests.benchmarks.common import reference_of, write_reference
from tests.benchmarks.tables import write_table
from tests.campaigns.registry import RESULTS
from tests.cli.assets import put_motion

HOW = ("--prompt", "a grey chair circles", "--steps", "6", "--absorber-steps", "4")


class Home:
    """A CAV_HOME with some assets and a video to learn from."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "CAV_HOME": str(folder)}
        self.registry = Registry(folder / "data" / "assets", shared=())
        self.video = folder / "reference.mp4"
        write_reference(reference_of("circle"), self.video)
        for number in range(3):
            put_motion(folder, f"earlier-{number}")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A `cav` process with JSON output, in its own process group."""
        command = [sys.executable, "-m", "cavtool", *arguments, "--json"]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> str:
        """The output of a `cav` command that must succeed."""
        process = self.start(*arguments)
        answer, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"cav {' '.join(arguments)}: {answer}")
        return answer

    def contents(self) -> dict[str, str]:
        """The hash of the weights of every asset, by name; every file must match its checksum."""
        for name in self.registry.names():
            self.registry.verify(name)
        return {asset.record.name: asset.record.content_id for asset in self.registry.list()}


def kill(process: subprocess.Popen[str], after: float, *, of_its_last_step: bool) -> bool:
    """Kill a process `after` seconds from its start or from its last step; returns whether it was still running."""
    assert process.stdout
    for line in process.stdout if of_its_last_step else ():
        event = json.loads(line)
        if event.get("stage") == "preview" and event.get("step") == event.get("num_steps"):
            break
    time.sleep(after)
    was_running = process.poll() is None
    if was_running:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return was_running


def campaign(num_kills: int, seed: int) -> Counter[str]:
    """The outcomes of the kills. Raises SystemExit if anything was lost, damaged, or could not be resumed."""
    draw, outcomes = random.Random(seed), Counter[str]()
    with TemporaryDirectory() as name:
        home = Home(Path(name))
        began = time.monotonic()
        home.run("learn", "circle", str(home.video), *HOW)
        whole = time.monotonic() - began
        before = home.contents()
        for number in range(num_kills):
            motion, at_end = f"circle-{number}", number % 2 == 1
            learn = ("learn", motion, str(home.video), *HOW)
            after = draw.uniform(0, 0.25) if at_end else draw.uniform(0, whole)
            killed = kill(home.start(*learn), after, of_its_last_step=at_end)
            home.run("verify")
            now = home.contents()
            if {each: now.get(each) for each in before} != before:
                raise SystemExit(f"{motion} killed: {before} became {now}")
            run = next((each for each in json.loads(home.run("runs", "list")) if each["name"] == motion), None)
            if not killed:
                outcomes["ended before the kill"] += 1
            elif run is None:
                outcomes["killed before its run began"] += 1
            else:
                kept = "motion" if motion in now else "absorber alone" if now != before else "nothing"
                outcomes[f"killed in its run, {kept} kept"] += 1
            if motion not in now:
                home.run(*(("runs", "resume", run["id"]) if run else learn))
            before = home.contents()
            if motion not in before or before[motion] != before["circle"]:
                raise SystemExit(f"{motion} was resumed to other weights: {before}")
            print(number, dict(outcomes), flush=True)
    return outcomes


def main() -> None:
    num_kills, seed = (*map(int, sys.argv[1:]), *(40, 0)[len(sys.argv) - 1 :])
    rows = [(outcome, str(count)) for outcome, count in sorted(campaign(num_kills, seed).items())]
    rows += [("assets lost or damaged, or learned to other weights", "0")]  # else `campaign` raises
    title = f"{num_kills} `cav learn` processes killed at random moments"
    write_table("learns", title, ("outcome", "count"), rows, folder=RESULTS)


if __name__ == "__main__":
    main()
