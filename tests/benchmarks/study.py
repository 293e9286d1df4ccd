"""Comparison of settings for the defaults of `cav learn`: `python -m tests.benchmarks.study [VARIANT...]`.

Only the tune motions are used. Every (variant, motion) is trained once; `results/study.jsonl` keeps its scores with its
recipe and the base's revision, and another run continues from there. Intervals are over prompts and seeds.
"""

import json
import sys
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from cavtool.mini.judge import Judge, load_judge
from cavtool.recipes import AbsorberKind, LearnRecipe
from cavtool.studio.session import Session, open_session
from tests.benchmarks.common import (
    SCORES,
    TITLES,
    TUNE_PROMPTS,
    TUNE_REFERENCES,
    Score,
    base,
    by_clip,
    learned,
    limits_of_stillness,
    make,
    reference_of,
    score,
    what_it_depends_on,
)
from tests.benchmarks.tables import RESULTS, with_difference, with_interval, write_table

SEEDS = (201, 202)
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "250 steps": {"steps": 250},
    "recoloured": {"recolour": 16},
    "none": {"absorber_kind": AbsorberKind.NONE},
    "s-lora": {"absorber_kind": AbsorberKind.S_LORA},
    "textinv": {"absorber_kind": AbsorberKind.TEXTINV},
    "all timesteps": {"noise_from": 0.0},
    "noise from 0.6": {"noise_from": 0.6},
    "noise from 0.5": {"noise_from": 0.5},
    "noise from 0.3": {"noise_from": 0.3},
    "lr 5e-4": {"lr": 5e-4},
    "lr 3e-3": {"lr": 3e-3},
    "rank 8": {"rank": 8},
    "150 steps": {"steps": 150},
    "400 steps": {"steps": 400},
    "absorber 200": {"absorber_steps": 200},
    "from 0.5, 400 steps, lr 2e-3": {"noise_from": 0.5, "steps": 400, "lr": 2e-3},
}
BASE = "base"  # the same prompts without a motion
LOG = RESULTS / "study.jsonl"


def depends_on(variant: str) -> dict[str, Any]:
    """The base's weights, and how the motion is learned; no recipe for the base's own clips."""
    if variant == BASE:
        return {**base(), "recipe": {}}
    return what_it_depends_on(replace(LearnRecipe(), **VARIANTS[variant]))


def key(variant: str, motion: str) -> dict[str, Any]:
    """What a result depends on."""
    return {"motion": motion, **depends_on(variant)}


@cache
def opened() -> tuple[Session, Judge, dict[str, float]]:
    """The base, the judge, and the limits of stillness."""
    session, judge = open_session("cav-mini"), load_judge()
    return session, judge, limits_of_stillness(session, judge, TUNE_PROMPTS)


def measure(variant: str, motion: str) -> dict[str, Any]:
    """Train one motion with one variant; returns the scores of its clips."""
    scene = reference_of(motion)
    session, judge, limits = opened()
    motions = [] if variant == BASE else [learned(motion, **VARIANTS[variant])]
    clips = make(session, judge, TUNE_PROMPTS, SEEDS, motions)
    scores = [asdict(score(clip, scene, limits)) for clip in clips]
    return {**key(variant, motion), "scores": scores}


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    variants = sys.argv[1:] or [BASE, *VARIANTS]
    log = LOG.read_text().splitlines() if LOG.exists() else []
    done = [json.loads(line) for line in log if line.endswith("}")]
    rows = {}
    for variant in dict.fromkeys(["default", *variants]):
        for motion in TUNE_REFERENCES:
            inputs = key(variant, motion).items()
            row = next((row for row in done if inputs <= row.items()), None)
            if row is None:
                row = measure(variant, motion)
                with LOG.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            rows[variant, motion] = row
            print(variant, motion, [round(s["fidelity"], 2) for s in row["scores"]], flush=True)
    table = []
    for variant in variants:
        mine, usual = ([rows[v, m] for m in TUNE_REFERENCES] for v in (variant, "default"))
        scores, others = ([[Score(**s) for s in row["scores"]] for row in r] for r in (mine, usual))
        means = [with_interval(by_clip(scores, name)) for name in SCORES]
        differ = with_difference(by_clip(scores, "fidelity"), by_clip(others, "fidelity"))
        by_motion = " ".join(f"{sum(by_clip([s], 'fidelity')) / len(s):.2f}" for s in scores)
        table.append((variant, *means, differ, by_motion))
    names = ", ".join(TUNE_REFERENCES)
    columns = ("variant", *TITLES, "fidelity minus the default's", f"fidelity of {names}")
    write_table("study", "Settings of `cav learn`, on the tune motions", columns, table)


if __name__ == "__main__":
    main()
