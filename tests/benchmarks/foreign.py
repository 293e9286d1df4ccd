"""Motions of strangers' clips: `python -m tests.benchmarks.foreign [--report] [VARIANT...]`, variants as in `study`.

Each of the clips in `foreign_clips` is learned from a real mp4 and put on three subjects in three places, two seeds.
Without `--report`, the clips to tune on. Every (variant, clip) is trained once and kept in `results/foreign.jsonl` with
its recipe and the base's revision; run again, it goes on where it stopped. Intervals are over clips, which are what a
user brings. "Kept": of the videos in which the base shows the asked subject in the asked place, the share in which it
is still there with the motion.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cavtool import video
from cavtool.core.metrics.channels import Track, fidelity
from cavtool.mini import world
from cavtool.mini.judge import Judge, Reading, load_judge
from cavtool.recipes import LearnRecipe
from cavtool.studio.session import Session, open_session
from tests.benchmarks.common import Asked, Clip, learned_from, make
from tests.benchmarks.foreign_clips import REPORT, TUNE, Foreign
from tests.benchmarks.study import BASE, VARIANTS, depends_on
from tests.benchmarks.tables import RESULTS, with_difference, with_interval, write_table

PROMPTS = (("cat", "red", "forest"), ("box", "blue", "desert"), ("bird", "orange", "snow"))
SEEDS = (301, 302)
LOG = RESULTS / "foreign.jsonl"


@dataclass(frozen=True)
class Score:
    """The videos of one clip: means over prompts and seeds, each in [0, 1]."""

    fidelity: float
    colour: float
    subject: float
    place: float
    kept: float


TITLES = ("fidelity", "colour right", "subject right", "place right", "kept")


@cache
def opened() -> tuple[Session, Judge, list[Clip]]:
    """The base, the judge, and the base's own clips of the prompts."""
    session, judge = open_session("cav-mini"), load_judge()
    return session, judge, make(session, judge, PROMPTS, SEEDS)


def measure(clip: Foreign, variant: str) -> tuple[Score, list[Clip]]:
    """Learn one clip one way; its videos and their scores."""
    session, judge, base = opened()
    clips = base
    if variant != BASE:
        motion = learned_from(partial(written, clip), **VARIANTS[variant])
        clips = make(session, judge, PROMPTS, SEEDS, [motion])
    return score(clips, base, clip.channels(world.NUM_FRAMES, world.FPS)), clips


def written(clip: Foreign, file: Path) -> LearnRecipe:
    """Write a clip; the recipe to learn from it."""
    clip.write(file)
    return LearnRecipe(prompt=clip.prompt, appearance=clip.appearance, start=0.0)


def score(clips: Sequence[Clip], base: Sequence[Clip], truth: Mapping[str, Track]) -> Score:
    """What the judge reads, against the truth, the prompt and the base's clip of the same prompt and seed."""
    shares = {
        name: float(np.mean([_is_right(clip.asked, clip.reading, name) for clip in clips]))
        for name in ("colour", "subject", "place")
    }
    both = [[_has_both(clip) for clip in group] for group in (clips, base)]
    kept = [ours for ours, theirs in zip(*both, strict=True) if theirs]
    followed = float(np.mean([fidelity(clip.reading.channels, truth) for clip in clips]))
    return Score(followed, **shares, kept=float(np.mean(kept)) if kept else float("nan"))


def _is_right(asked: Asked, reading: Reading, name: str) -> bool:
    return bool(getattr(reading, name) == asked.attributes[name])


def _has_both(clip: Clip) -> bool:
    return all(_is_right(clip.asked, clip.reading, name) for name in ("subject", "place"))


def key(variant: str, clip: str) -> dict[str, Any]:
    """What a result depends on."""
    return {"clip": clip, **depends_on(variant)}


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    to_report = "--report" in sys.argv
    variants = [name for name in sys.argv[1:] if name != "--report"] or [BASE, "default"]
    clips = REPORT if to_report else TUNE
    done = [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []
    scores: dict[str, list[Score]] = {}
    sheet: list[tuple[str, video.Frames]] = []
    for variant in dict.fromkeys([BASE, *variants]):
        for name, clip in clips.items():
            wanted = key(variant, name)
            row = next((row for row in done if wanted.items() <= row.items()), None)
            if row is None:
                measured, videos = measure(clip, variant)
                sheet += shown(f"{name}\n{variant}", clip, videos)
                row = {**wanted, "score": asdict(measured)}
                with LOG.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            scores.setdefault(variant, []).append(Score(**row["score"]))
            print(variant, name, row["score"], flush=True)
    rows = []
    for variant, mine in scores.items():
        means = [with_interval([getattr(one, field) for one in mine]) for field in Score.__dataclass_fields__]
        gain = with_difference([one.fidelity for one in mine], [one.fidelity for one in scores[BASE]])
        rows.append((variant, *means, gain, " ".join(f"{one.fidelity:.2f}" for one in mine)))
    title = f"Clips from other renderers, those to {'report' if to_report else 'tune on'}"
    columns = ("variant", *TITLES, "fidelity less base's", f"fidelity of {', '.join(clips)}")
    name = "foreign-report" if to_report else "foreign-tune"
    write_table(name, title, columns, rows)
    if sheet:  # of what was measured in this run
        video.contact_sheet(sheet, RESULTS / f"{name}.png", scale=1)


def seen_by_the_model(clip: Foreign) -> video.Frames:
    """The clip at the model's size and rate."""
    with TemporaryDirectory() as folder:
        file, side = Path(folder, "clip.mp4"), world.SIDE
        clip.write(file)
        seconds, num_frames = world.NUM_FRAMES / world.FPS, world.NUM_FRAMES
        return video.decode(file, start=0.0, duration=seconds, num_frames=num_frames, width=side, height=side)


def shown(title: str, clip: Foreign, videos: Sequence[Clip]) -> list[tuple[str, video.Frames]]:
    """The clip, and a video of each prompt."""
    made = [(one.asked.prompt, one.frames) for one in videos[:: len(SEEDS)]]
    return [(title, seen_by_the_model(clip)), *made]


if __name__ == "__main__":
    main()
