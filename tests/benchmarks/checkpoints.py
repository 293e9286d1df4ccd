"""Which checkpoint `cav learn` keeps, against fixed numbers of steps: `python -m tests.benchmarks.checkpoints`.

Each motion (or only those that are named) is trained once, for as many steps as `cav learn` ever takes, and the judge
scores the checkpoint of every trial on new prompts. A row keeps the checkpoint of one step for all motions, or that
which the rule of `cav learn` keeps after the trials so far; all rows share trainings, prompts and noise, so that only
the choice differs. The number of steps to compare with is the best one on the tune motions. Every motion is measured
once and kept in `checkpoints.jsonl`. Intervals are over prompts and seeds.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from cavtool.core.adapters.lora import LoraState
from cavtool.mini import world
from cavtool.mini.judge import Judge, load_judge
from cavtool.models import find_model
from cavtool.recipes import LearnRecipe
from cavtool.studio.learn import learn
from cavtool.studio.learn.choose import Trial, Trials
from cavtool.studio.session import Motion, Session, open_session
from cavtool.workspace import Workspace
from tests.benchmarks.common import (
    REPORT_PROMPTS,
    REPORT_REFERENCES,
    TUNE_PROMPTS,
    Score,
    by_clip,
    limits_of_stillness,
    make,
    reference_of,
    score,
    what_it_depends_on,
    write_reference,
)
from tests.benchmarks.tables import RESULTS, with_difference, with_interval, write_table

TUNE = ("circle", "zigzag", "swing")
REPORT = tuple(motion for motion in REPORT_REFERENCES if motion in world.HELD_OUT_MOTIONS)
SEEDS = (201, 202)
LOG = RESULTS / "checkpoints.jsonl"
RULE = "as `cav learn` does"
Scores = list[Score]  # of one checkpoint, one for each prompt and seed


class Watched(Trials):
    """Trials that keep every checkpoint and do not end the training."""

    @property
    def are_over(self) -> bool:
        """Never."""
        return False

    def add(self, step: int, state: LoraState) -> Trial:
        """Keep the checkpoint, and try it out as usual."""
        watched.append((super().add(step, state), {key: value.clone() for key, value in state.items()}))
        return watched[-1][0]


watched: list[tuple[Trial, LoraState]] = []


@cache
def base_session() -> Session:
    """The base."""
    return open_session("cav-mini")


@cache
def opened() -> tuple[Session, Judge, dict[str, float]]:
    """The base, the judge, and the limits of stillness."""
    session, judge = base_session(), load_judge()
    return session, judge, limits_of_stillness(session, judge, TUNE_PROMPTS)


def key(motion: str) -> dict[str, Any]:
    """What a result depends on."""
    return {"motion": motion, **what_it_depends_on(LearnRecipe())}


def measure(motion: str) -> dict[str, Any]:
    """Train one motion; its trials, and the scores of every checkpoint."""
    watched.clear()
    scene, noise_from = reference_of(motion), find_model("cav-mini").native.noise_from
    with TemporaryDirectory() as folder, patch("cavtool.studio.learn.train.Trials", Watched):
        file = Path(folder, "reference.mp4")
        learn("watched", file, write_reference(scene, file), workspace=Workspace(Path(folder, "home")))
    session, judge, limits = opened()
    trials, scores = [], []
    for trial, state in watched:
        prompts = REPORT_PROMPTS if motion in REPORT else TUNE_PROMPTS
        clips = make(session, judge, prompts, SEEDS, [Motion(state, noise_from=noise_from)])
        trials.append(astuple(trial))
        scores.append([asdict(score(clip, scene, limits)) for clip in clips])
        print(motion, trial, round(float(np.mean([s["fidelity"] for s in scores[-1]])), 2), flush=True)
    return {**key(motion), "trials": trials, "scores": scores}


def kept(motion: str, trials: Sequence[Trial]) -> tuple[int, int]:
    """The indices of the trial that `cav learn` keeps, and of the one after which it stops."""
    rule = Trials(base_session(), world.render(reference_of(motion)), 0, 0.0)
    for trial in trials:
        rule.done.append(trial)
        if rule.are_over:
            break
    return rule.done.index(rule.best), len(rule.done) - 1


def main() -> None:
    asked = sys.argv[1:]
    log = LOG.read_text().splitlines() if LOG.exists() else []
    done, rows = [json.loads(line) for line in log if line.endswith("}")], {}
    for motion in asked or [*TUNE, *REPORT]:
        row = next((row for row in done if key(motion).items() <= row.items()), None)
        if row is None:
            row = measure(motion)
            with LOG.open("a") as file:
                file.write(json.dumps(row) + "\n")
        rows[motion] = row
    if not asked:
        write(rows)


def write(rows: dict[str, dict[str, Any]]) -> None:
    """The table, with the best number of steps on the tune motions to compare with."""
    trials = {motion: [Trial(*trial) for trial in row["trials"]] for motion, row in rows.items()}
    scores = {motion: [[Score(**s) for s in one] for one in row["scores"]] for motion, row in rows.items()}
    ends = {motion: kept(motion, trials[motion]) for motion in rows}
    steps = [trial.step for trial in trials[TUNE[0]]]
    choices = {f"{step} steps": dict.fromkeys(rows, i) for i, step in enumerate(steps)}
    choices[RULE] = {motion: best for motion, (best, _) in ends.items()}

    def of(choice: str, motions: Sequence[str]) -> list[Scores]:
        return [scores[motion][choices[choice][motion]] for motion in motions]

    def gained(choice: str, motions: Sequence[str]) -> list[float]:
        pairs = zip(*(by_clip(of(choice, motions), name) for name in ("fidelity", "right")), strict=True)
        return [followed + right for followed, right in pairs]

    best = max((choice for choice in choices if choice != RULE), key=lambda choice: sum(gained(choice, TUNE)))
    table = []
    for choice in choices:
        cells = [with_interval(by_clip(of(choice, TUNE), name)) for name in ("fidelity", "right")]
        cells += [with_interval(by_clip(of(choice, REPORT), name)) for name in ("fidelity", "right", "leaked")]
        table.append((choice, *cells, with_difference(gained(choice, REPORT), gained(best, REPORT))))
    measured = ("fidelity, tune", "attributes right, tune", "fidelity", "attributes right", "leakage")
    columns = ("kept", *measured, f"fidelity and attributes, less those of {best}")
    stops = [f"{m}: {trials[m][i].step} of {trials[m][end].step} steps" for m, (i, end) in ends.items()]
    notes = f"Best number of steps on {', '.join(TUNE)}: {best}. Kept by `cav learn`: {', '.join(stops)}."
    write_table("checkpoints", f"Checkpoints of `cav learn`, on {', '.join(REPORT)}", columns, table, notes)


if __name__ == "__main__":
    main()
