"""Two motions in the same clips: `python -m tests.benchmarks.together [PROMPTS [SEEDS [STEPS]]]`.

Each motion is learned once, from a reference with an appearance that cav-mini never saw. The rows of a pair are the
same prompts and seeds without a motion, with either motion alone, with both, with both at weight 0.7, and with both in
turns; the judge reads the clips. A course and a change of size complement each other, as an object motion and a camera
motion do; two courses compete for the subject's position. The intervals are over prompts and seeds.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cavtool import video
from cavtool.core.metrics.channels import fidelity
from cavtool.mini import world
from cavtool.mini.judge import load_judge
from cavtool.recipes import LearnRecipe
from cavtool.studio.session import open_session
from tests.benchmarks.common import (
    REPORT_PROMPTS,
    Clip,
    learned,
    make,
    reference_of,
    right,
)
from tests.benchmarks.tables import RESULTS, with_difference, with_interval, write_table

PAIRS = (  # the first two are complementary
    ("figure eight", "pulse"),
    ("somersault", "pulse"),
    ("figure eight", "somersault"),
    ("figure eight", "dolly zoom"),
)
LOWER = 0.7
FIRST_SEED = 101
DEFAULTS = [len(REPORT_PROMPTS), 2, LearnRecipe.steps]
Clips = Mapping[str, list[Clip]]  # by row


def followed(clips: Sequence[Clip], motion: str) -> list[float]:
    """The fidelity of each clip to a motion."""
    truth = reference_of(motion).channels
    return [fidelity(clip.reading.channels, truth) for clip in clips]


def rows_of(pair: tuple[str, str], clips: Clips) -> list[Sequence[str]]:
    """A row for every way to make the clips of a pair."""
    return [
        (
            " + ".join(pair),
            row,
            *(with_interval(followed(made, motion)) for motion in pair),
            with_interval([min(each) for each in zip(*(followed(made, motion) for motion in pair), strict=True)]),
            with_interval([right(clip) for clip in made]),
        )
        for row, made in clips.items()
    ]


def differences(pair: tuple[str, str], clips: Clips) -> list[str]:
    """How much fidelity each motion loses beside the other, paired by prompt and seed."""
    a, b = pair
    return [
        f"- {a} beside {b}, {both} less alone: {with_difference(followed(clips[both], a), followed(clips[a], a))}"
        for a, b in ((a, b), (b, a))
        for both in (BOTH, BOTH_LOWER, TURNS)
    ]


BOTH, BOTH_LOWER, TURNS = "`a b`", f"`a:{LOWER} b:{LOWER}`", "`a b --turns`"


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]]
    num_prompts, num_seeds, steps = counts + DEFAULTS[len(counts) :]
    session, judge = open_session("cav-mini"), load_judge()
    prompts, seeds = REPORT_PROMPTS[:num_prompts], range(FIRST_SEED, FIRST_SEED + num_seeds)
    how = {"steps": steps, "absorber_steps": min(steps or LearnRecipe.absorber_steps, LearnRecipe.absorber_steps)}
    motions = {motion: learned(motion, **how) for motion in dict.fromkeys(motion for pair in PAIRS for motion in pair)}
    base = make(session, judge, prompts, seeds)
    alone = {name: make(session, judge, prompts, seeds, [motion]) for name, motion in motions.items()}
    rows: list[Sequence[str]] = []
    lines = ["Paired differences of fidelity over prompts and seeds, 95 % intervals:", ""]
    for pair in PAIRS:
        both = [motions[name] for name in pair]
        clips = {
            "base": base,
            **{name: alone[name] for name in pair},
            BOTH: make(session, judge, prompts, seeds, both),
            BOTH_LOWER: make(session, judge, prompts, seeds, [replace(motion, weight=LOWER) for motion in both]),
            TURNS: make(session, judge, prompts, seeds, both, turns=True),
        }
        rows += rows_of(pair, clips)
        if pair == PAIRS[0]:
            references = [(f"{name}\nreference", world.render(reference_of(name))) for name in pair]
            made = [(f"{clip.asked.prompt}\nin turns", clip.frames) for clip in clips[TURNS][::num_seeds]]
            video.contact_sheet([*references, *made], RESULTS / "together.png", scale=1)
        lines += differences(pair, clips)
    titles = ("a + b", "motions", "fidelity to a", "fidelity to b", "the lower of both", "attributes right")
    write_table("together", "Two motions in the same clips", titles, rows, "\n".join(lines))


if __name__ == "__main__":
    main()
