"""Time and memory of `cav learn`, `cav generate` and `cav demo`, from the real commands.

`python -m tests.benchmarks.speed [NUM_RUNS]`: every command runs in its own process with `--json`, and its events are
timed as they arrive. The imports that take most of the start-up time are timed separately.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool.studio.learn.choose import EVERY
from tests.benchmarks.common import reference_of, write_reference
from tests.benchmarks.tables import write_table

IMPORTS = ("torch", "diffusers.UNet3DConditionModel", "transformers.CLIPTextModel", "peft")
Timed = list[tuple[float, dict[str, object]]]


def run(*arguments: str, home: Path) -> tuple[Timed, float]:
    """The command's events with their times in seconds since its start, and its peak memory in GB."""
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "cavtool", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"CAV_HOME": str(home)},
    ) as process:
        assert process.stdout
        events = [(time.monotonic() - began, json.loads(line)) for line in process.stdout]
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"cav {' '.join(arguments)} failed: {events[-1:]}")
    return [*events, (time.monotonic() - began, {"event": "end"})], used.ru_maxrss * 1024 / 1e9


def first(events: Timed, kind: str) -> float:
    return next(at for at, event in events if event.get("event") == kind)


def seconds_to_import(names: Sequence[str]) -> list[float]:
    """The time to import each name after those before it, in one process."""
    lines = ""
    for name in names:
        module, _, thing = name.rpartition(".")
        how = f"from {module} import {thing}" if module else f"import {thing}"
        lines += f"t=time.monotonic()\n{how}\nprint(time.monotonic()-t)\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import time\n{lines}"], capture_output=True, text=True, check=True
    )
    return [float(line) for line in done.stdout.split()]


def share_of_trials(events: Timed) -> float:
    """How much of the training of the motion went to trials, which follow every `EVERY` steps, in percent."""
    gaps = [
        (int(str(event["step"])), later - at)
        for (at, event), (later, _) in pairwise(events)
        if event.get("event") == "step" and event["stage"] == "motion"
    ]
    usual = statistics.median(gap for _, gap in gaps)
    return 100 * sum(gap - usual for step, gap in gaps if step % EVERY == 0) / sum(gap for _, gap in gaps)


def spread(values: Sequence[float], unit: str) -> str:
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}] {unit}"


def main() -> None:
    starts, trains, trials, peaks, samples_start, samples, demos, imports = [], [], [], [], [], [], [], []
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for _ in range(num_runs):
        with TemporaryDirectory() as name:
            folder = Path(name)
            scene = reference_of("twirl")
            write_reference(scene, folder / "twirl.mp4")
            learned, peak = run("learn", "twirl", f"{folder}/twirl.mp4", "--prompt", scene.caption, home=folder)
            made, _ = run("generate", "ironman", "--motion", "twirl", "-o", f"{folder}/v.mp4", home=folder)
            demo, _ = run("demo", "-o", f"{folder}/demo", home=folder / "demo-home")
        starts.append(first(learned, "stage"))
        trains.append(learned[-1][0] - first(learned, "stage"))
        trials.append(share_of_trials(learned))
        peaks.append(peak)
        samples_start.append(first(made, "step"))
        samples.append(made[-1][0] - first(made, "stage"))
        demos.append(demo[-1][0] / 60)
        imports.append(seconds_to_import(IMPORTS))
    per_import = zip(IMPORTS, zip(*imports, strict=True), strict=True)
    rows = [
        ("learn: start to first stage", spread(starts, "s"), ""),
        ("learn: first stage to end", spread(trains, "s"), "90 s"),
        ("learn: trials, of the training of the motion", spread(trials, "%"), "40 %"),
        ("learn: peak memory", spread(peaks, "GB"), "2.5 GB"),
        ("generate: start to first step done", spread(samples_start, "s"), "10 s"),
        *((f"part of each start: importing {name}", spread(times, "s"), "") for name, times in per_import),
        ("generate: 25 steps, decoding, writing", spread(samples, "s"), "8 s"),
        ("demo, whole", spread(demos, "min"), "5 min"),
    ]
    columns = ("measured", f"median [min, max] of {num_runs}", "bar")
    write_table("speed", f"Time and memory on {os.cpu_count()} cores", columns, rows)


if __name__ == "__main__":
    main()
