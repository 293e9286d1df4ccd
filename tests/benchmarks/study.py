"""Which defaults `cav learn` should have: `python -m tests.benchmarks.study [VARIANT...]`, on the tune motions only.

Every (variant, motion) is trained once and kept in `results/study.jsonl`; run again, it goes on where it stopped.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cavtool.core.metrics import fidelity, leaked
from cavtool.mini import world
from cavtool.mini.judge import load_judge
from cavtool.recipes import AbsorberKind, LearnRecipe, SampleRecipe
from cavtool.registry.store import Registry
from cavtool.studio.session import Motion, motion_of, open_session
from tests.benchmarks.common import (
    RESULTS,
    TUNE_LOOKS,
    TUNE_PROMPTS,
    Asked,
    learn_reference,
    reference,
    with_interval,
    write_table,
)

SEEDS = (201, 202)
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"absorber_kind": AbsorberKind.NONE},
    "s-lora": {"absorber_kind": AbsorberKind.S_LORA},
    "textinv": {"absorber_kind": AbsorberKind.TEXTINV},
    "all timesteps": {"noise_from": 0.0},
    "noise from 0.5": {"noise_from": 0.5},
    "lr 5e-4": {"lr": 5e-4},
    "lr 3e-3": {"lr": 3e-3},
    "rank 8": {"rank": 8},
    "150 steps": {"steps": 150},
    "400 steps": {"steps": 400},
    "absorber 200": {"absorber_steps": 200},
}
BASE = "base"  # the same prompts without a motion
LOG = RESULTS / "study.jsonl"


def measure(variant: str, motion: str) -> dict[str, Any]:
    """Train one motion one way; its mean scores over prompts and seeds."""
    scene, usual = reference(motion, TUNE_LOOKS), SampleRecipe("a")
    session, judge = open_session("cav-mini"), load_judge()
    theirs = {"subject": scene.subject, "colour": scene.colour, "place": scene.place}
    fidelities, right, leaks = [], [], []
    seconds, motions = (0.0, []) if variant == BASE else learned(scene, VARIANTS[variant])
    for looks in TUNE_PROMPTS:
        asked = Asked(*looks)
        for seed in SEEDS:
            frames = session.generate(asked.prompt, seed, motions, steps=usual.steps, guidance=usual.guidance)
            reading = judge.read(frames)
            seen = {"subject": reading.subject, "colour": reading.colour, "place": reading.place}
            fidelities.append(fidelity(reading.channels, scene.channels()))
            right.append(float(np.mean([seen[key] == value for key, value in asked.attributes.items()])))
            leaks.append(float(np.mean(list(leaked(asked.attributes, seen, theirs).values()))))
    return {
        "variant": variant,
        "motion": motion,
        "seconds": round(seconds, 1),
        "fidelity": fidelities,
        "right": right,
        "leaked": leaks,
    }


def learned(scene: world.Scene, changes: dict[str, Any]) -> tuple[float, list[Motion]]:
    """Seconds taken, and the motion."""
    with TemporaryDirectory() as folder:
        registry = Registry(Path(folder) / "assets")

        def recipe(prompt: str, look: str) -> LearnRecipe:
            return replace(LearnRecipe(prompt=prompt, appearance=look), **changes)

        seconds = learn_reference("motion", scene, recipe, registry, Path(folder))
        return seconds, [motion_of(registry.get("motion"))]


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    done = [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []
    for variant in sys.argv[1:] or [BASE, *VARIANTS]:
        for motion in world.TUNE_MOTIONS:
            if not any((row["variant"], row["motion"]) == (variant, motion) for row in done):
                done.append(measure(variant, motion))
                with LOG.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
                print(
                    {key: np.mean(value) if isinstance(value, list) else value for key, value in done[-1].items()},
                    flush=True,
                )
    rows = []
    for variant in dict.fromkeys(row["variant"] for row in done):
        mine = [row for row in done if row["variant"] == variant]
        scores = [[v for row in mine for v in row[key]] for key in ("fidelity", "right", "leaked")]
        seconds = sum(row["seconds"] for row in mine) / len(mine)
        rows.append((variant, str(len(mine)), *map(with_interval, scores), f"{seconds:.0f}"))
    columns = ("variant", "motions", "fidelity", "attributes right", "leakage", "seconds to learn")
    write_table("study", "Ways to learn, on the tune motions", columns, rows)


if __name__ == "__main__":
    main()
