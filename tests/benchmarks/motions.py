"""The report motions on new subjects and places: `python -m tests.benchmarks.motions`.

cav-mini was trained on none of the references; one of them (`filmed`) is made of photos. Rows: the base with the same
prompts, and with the motion as `cav learn` learns it. Then twirl and dolly zoom at once. The judge reads the clips.
Every motion is trained once: the intervals are over prompts and seeds. Needs scikit-image for the photos. What
absorbers bring is in `absorbers`.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool import video
from cavtool.core.metrics.channels import channel_scores
from cavtool.mini import world
from cavtool.mini.judge import Judge, load_judge
from cavtool.recipes import LearnRecipe
from cavtool.studio.session import Motion, Session, open_session
from tests.benchmarks import filmed
from tests.benchmarks.common import (
    REPORT_PROMPTS,
    SCORES,
    TITLES,
    Score,
    by_clip,
    learned_from,
    limits_of_stillness,
    make,
    reference_of,
    score,
    write_reference,
)
from tests.benchmarks.tables import RESULTS, with_difference, with_interval, write_table

SEEDS = (101, 102)
BASE, LEARNED = "base", "learned"
ROWS = (BASE, LEARNED)
FILMED = "filmed"
# In the README, all with one seed.
SHOWN, PROMPTS, SEED = "twirl", ("ironman in the desert", "a green car in the city", "a blue box in the desert"), 1
Scores = Mapping[str, Mapping[str, list[Score]]]  # by motion and row


def written(motion: str, file: Path) -> LearnRecipe:
    """Write the reference of a motion; the recipe to learn from it."""
    if motion == FILMED:
        filmed.film(file)
        return LearnRecipe(prompt=filmed.PROMPT, appearance=filmed.APPEARANCE)
    return write_reference(reference_of(motion), file)


def seen_by_the_model(motion: str) -> video.Frames:
    """A reference at the model's size and rate."""
    with TemporaryDirectory() as folder:
        file, duration = Path(folder, "reference.mp4"), world.NUM_FRAMES / world.FPS
        written(motion, file)
        side = world.SIDE
        return video.decode(file, start=0.0, duration=duration, num_frames=world.NUM_FRAMES, width=side, height=side)


def main() -> None:
    session, judge = open_session("cav-mini"), load_judge()
    base = make(session, judge, REPORT_PROMPTS, SEEDS)
    limits = limits_of_stillness(session, judge, REPORT_PROMPTS)
    scores: dict[str, dict[str, list[Score]]] = {}
    motions: dict[str, Motion] = {}
    for motion in (*world.REPORT_MOTIONS, FILMED):
        scene = filmed.scene() if motion == FILMED else reference_of(motion)
        motions[motion] = learned_from(partial(written, motion))
        clips = make(session, judge, REPORT_PROMPTS, SEEDS, [motions[motion]])
        scores[motion] = {
            BASE: [score(clip, scene, limits) for clip in base],
            LEARNED: [score(clip, scene, limits) for clip in clips],
        }
        sheet = [(f"{motion}\nreference", seen_by_the_model(motion))]
        sheet += [(f"{clip.asked.prompt}\nseed {clip.seed}", clip.frames) for clip in clips]
        video.contact_sheet(sheet, RESULTS / f"motion-{motion.replace(' ', '-')}.png", scale=1)
        report(scores)  # of those learned so far
    show(session, motions[SHOWN])
    both(session, judge, [motions["twirl"], replace(motions["dolly zoom"], weight=0.7)], limits)


def report(scores: Scores) -> None:
    """The base and the learned one for each motion, and the rendered motions together; then the paired differences."""
    rendered = [motion for motion in scores if motion != FILMED]
    rows = []
    for title, motions in {**{m: [m] for m in rendered}, "together": rendered, FILMED: [FILMED]}.items():
        if title in scores or title == "together":
            for row in ROWS:
                mine = [scores[motion][row] for motion in motions]
                rows.append((title, row, *(with_interval(by_clip(mine, name)) for name in SCORES)))
    differences = []
    for name, title in zip(SCORES, TITLES, strict=True):
        pair = (by_clip([scores[motion][row] for motion in rendered], name) for row in (LEARNED, BASE))
        differences.append(f"{title} {with_difference(*pair)}")
    lines = [f"Learned less base, over the prompts and seeds of all rendered motions: {', '.join(differences)}."]
    if "dolly zoom" in scores:
        held = [f"{row} {with_interval(by_clip([scores['dolly zoom'][row]], 'size_held'))}" for row in ROWS]
        lines += [
            "",
            f"Dolly zoom, share of clips in which the subject keeps its size as in still clips: {', '.join(held)}",
        ]
    titles = ("motion", "videos", *TITLES)
    write_table("motions", "Report motions on new subjects and places", titles, rows, "\n".join(lines))


def show(session: Session, motion: Motion) -> None:
    """Draw the picture of the README."""
    made = [(prompt, session.generate(prompt, SEED, [motion])) for prompt in PROMPTS]
    video.contact_sheet([(f"{SHOWN}\nreference", seen_by_the_model(SHOWN)), *made], RESULTS / "readme.png", scale=1)


def both(session: Session, judge: Judge, motions: list[Motion], limits: dict[str, float]) -> None:
    """Twirl and dolly zoom in the same clips."""
    clips = make(session, judge, REPORT_PROMPTS, SEEDS, motions)
    rows = []
    for motion, channel in (("twirl", "yaw"), ("dolly zoom", "camera_zoom")):
        truth = reference_of(motion).channels
        scores = [channel_scores(clip.reading.channels, truth)[channel] for clip in clips]
        rows.append((f"{motion}: {channel}", with_interval(scores)))
    dolly = reference_of("dolly zoom")
    held = [score(clip, dolly, limits).size_held for clip in clips]
    rows.append(("share in which the subject keeps its size", with_interval(held)))
    write_table("both", "twirl and dolly_zoom:0.7 at once", ("channel", "score"), rows)
    sheet = [(f"{clip.asked.prompt}\nseed {clip.seed}", clip.frames) for clip in clips]
    video.contact_sheet(sheet, RESULTS / "both.png", scale=1)


if __name__ == "__main__":
    main()
