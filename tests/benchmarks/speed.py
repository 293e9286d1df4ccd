"""Time and memory of `cav learn` and `cav generate`, from the real commands: `python -m tests.benchmarks.speed`.

Every command runs in a process of its own with `--json`; its events are timed as they arrive.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool import video
from cavtool.mini import world
from tests.benchmarks.common import REPORT_LOOKS, reference, write_table


def run(*arguments: str, home: str) -> list[tuple[float, dict[str, object]]]:
    """The command's events and when they came, in seconds since its start."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "cavtool", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"CAV_HOME": home},
    )
    assert process.stdout
    events = [(time.monotonic() - began, json.loads(line)) for line in process.stdout]
    if process.wait():
        raise SystemExit(f"cav {' '.join(arguments)} failed: {events[-1:]}")
    return [*events, (time.monotonic() - began, {"event": "end"})]


def first(events: list[tuple[float, dict[str, object]]], kind: str) -> float:
    return next(at for at, event in events if event.get("event") == kind)


def main() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "twirl.mp4"
        scene = reference("twirl", REPORT_LOOKS)
        video.encode(world.render(scene), file, fps=world.FPS, scale=4)
        learned = run("learn", "twirl", str(file), "--prompt", scene.caption, home=folder)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        made = run("generate", "ironman", "--motion", "twirl", "-o", str(Path(folder) / "v.mp4"), home=folder)
    rows = [
        ("learn: start-up to first stage", f"{first(learned, 'stage'):.1f} s", ""),
        ("learn: without start-up", f"{learned[-1][0] - first(learned, 'stage'):.1f} s", "90 s"),
        ("learn: peak memory", f"{peak:.2f} GB", "2.5 GB"),
        ("generate: start-up to sampling", f"{first(made, 'stage'):.1f} s", "10 s"),
        ("generate: 25 steps, decoding, writing", f"{made[-1][0] - first(made, 'stage'):.1f} s", "8 s"),
    ]
    write_table("speed", f"Time and memory on {os.cpu_count()} cores", ("what", "measured", "bar"), rows)


if __name__ == "__main__":
    main()
