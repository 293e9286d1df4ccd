"""Up to which share of the sampling a motion is best active: `python -m tests.benchmarks.end_point`.

Two tune motions are learned as `cav learn` does, each on one thread, and applied from the start of the sampling up to
several end points (`--motion NAME@0-B`). Without a window, a motion is active at the timesteps that it was trained on,
the noisier half. All rows share motions, prompts and noise. Intervals are over prompts and seeds.
"""

from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import get_context

import torch

from cavtool.mini.judge import load_judge
from cavtool.studio.session import open_session
from tests.benchmarks.common import (
    TUNE_PROMPTS,
    Score,
    by_clip,
    learned,
    limits_of_stillness,
    make,
    reference_of,
    score,
)
from tests.benchmarks.tables import with_difference, with_interval, write_table

MOTIONS = ("circle", "swing")
SEEDS = (201, 202)
ENDS = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
DEFAULT, BASE = "as learned", "base"
MEASURED = {"fidelity": "fidelity", "right": "attributes right", "leaked": "leakage"}
NOTE = """\
So a motion stays active where it was trained: later, fidelity gains little, and subjects, colours and places are lost.
Which window is best differs by motion: the circle has nearly all of its fidelity after a third of the sampling."""
Scores = dict[str, list[Score]]  # of every row, one for each prompt and seed


def measure(motion: str) -> Scores:
    """Learn a motion, and score it with every end point."""
    torch.set_num_threads(1)
    scene, state = reference_of(motion), learned(motion)
    session, judge = open_session("cav-mini"), load_judge()
    limits = limits_of_stillness(session, judge, TUNE_PROMPTS)
    rows = {BASE: [], DEFAULT: [state], **{f"0 to {end:g}": [replace(state, window=(0.0, end))] for end in ENDS}}
    return {
        row: [score(clip, scene, limits) for clip in make(session, judge, TUNE_PROMPTS, SEEDS, motions)]
        for row, motions in rows.items()
    }


def main() -> None:
    with get_context("spawn").Pool(len(MOTIONS)) as pool:
        results: Sequence[Scores] = pool.map(measure, MOTIONS)
    table = []
    for row in results[0]:
        scores = {name: by_clip([one[row] for one in results], name) for name in MEASURED}
        usual = by_clip([one[DEFAULT] for one in results], "fidelity")
        each = [sum(s.fidelity for s in one[row]) / len(one[row]) for one in results]
        table.append(
            (
                row,
                *map(with_interval, scores.values()),
                with_difference(scores["fidelity"], usual),
                " ".join(f"{mean:.2f}" for mean in each),
            )
        )
    columns = ("active", *MEASURED.values(), "fidelity less as learned", f"fidelity of {', '.join(MOTIONS)}")
    write_table("end_point", "Up to which share of the sampling a motion is active", columns, table, NOTE)


if __name__ == "__main__":
    main()
