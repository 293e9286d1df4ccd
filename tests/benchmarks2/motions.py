"""The report motions on new subjects and places: `python -m tests.benchmarks2.motions [FOLDER]`.

Each reference shows a subject, colour and place that cav-mini never saw. Rows: the base with the same prompts; T-LoRA
without an absorber; with the dual one. Then twirl and dolly zoom at once. The judge reads the clips. Every motion is
trained once: the intervals are over prompts and seeds. FOLDER is a training's pipeline folder with the judge in it.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cavtool import video
from cavtool.core.metrics.channels import channel_scores
from cavtool.mini2.judge.reading import WEIGHTS, Judge, load_judge
from cavtool.mini2.world.motions import REPORT_MOTIONS
from cavtool.mini2.world.scenes import render
from cavtool.recipes import AbsorberKind
from cavtool.studio.learn import learn
from cavtool.studio.session import Motion, Session, motion_of
from cavtool.workspace import Workspace
from tests.benchmarks.tables import with_difference, with_interval, write_table
from tests.benchmarks2.common import (
    REPORT_PROMPTS,
    RESULTS,
    SCORES,
    TITLES,
    Score,
    by_clip,
    limits_of_stillness,
    make,
    reference_of,
    score,
    write_reference,
)
from tests.benchmarks2.session import open_folder

SEEDS = (101, 102)
KINDS = (AbsorberKind.NONE, AbsorberKind.DUAL)
ROWS = ("base", *map(str, KINDS))
Scores = Mapping[str, Mapping[str, list[Score]]]  # by motion and row


def learned(motion: str, kind: AbsorberKind, model: Path, folder: Path) -> Motion:
    """A motion learned from a real file."""
    file, name, workspace = folder / "reference.mp4", motion.replace(" ", "_"), Workspace(folder)
    recipe = replace(write_reference(reference_of(motion), file), absorber_kind=kind, model=str(model))
    return motion_of(learn(name, file, recipe, replace=True, workspace=workspace))


def main() -> None:
    """Measure and write."""
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS.parent
    session, judge = open_folder(model), load_judge(model / WEIGHTS.name)
    base = make(session, judge, REPORT_PROMPTS, SEEDS)
    limits = limits_of_stillness(session, judge, REPORT_PROMPTS)
    scores: dict[str, dict[str, list[Score]]] = {}
    motions: dict[str, Motion] = {}
    with TemporaryDirectory() as folder:
        for motion in REPORT_MOTIONS:
            scene = reference_of(motion)
            scores[motion] = {"base": [score(clip, scene, limits) for clip in base]}
            sheet = [(f"{motion}\nreference", render(scene))]
            for kind in KINDS:
                motions[motion] = learned(motion, kind, model, Path(folder))  # of the last kind, dual
                clips = make(session, judge, REPORT_PROMPTS, SEEDS, [motions[motion]])
                scores[motion][str(kind)] = [score(clip, scene, limits) for clip in clips]
                sheet += [(f"{clip.asked.prompt}\n{kind}, seed {clip.seed}", clip.frames) for clip in clips]
            video.contact_sheet(sheet, RESULTS / f"motion-{motion.replace(' ', '-')}.png", scale=1)
            report(scores)  # of those learned so far
    both(session, judge, [motions["twirl"], replace(motions["dolly zoom"], weight=0.7)], limits)


def report(scores: Scores) -> None:
    """A row a motion and kind, and all motions together; then how the kinds differ, paired."""
    rows = []
    for title, motions in {**{motion: [motion] for motion in scores}, "together": list(scores)}.items():
        for kind in ROWS:
            mine = [scores[motion][kind] for motion in motions]
            rows.append((title, kind, *(with_interval(by_clip(mine, name)) for name in SCORES)))
    lines = ["Paired differences over the prompts and seeds of all motions, 95 % intervals:", ""]
    for ours, theirs in (("dual", "base"), ("none", "base"), ("dual", "none")):
        differences = []
        for name, title in zip(SCORES, TITLES, strict=True):
            pair = (by_clip([scores[motion][kind] for motion in scores], name) for kind in (ours, theirs))
            differences.append(f"{title} {with_difference(*pair)}")
        lines.append(f"- {ours} less {theirs}: {', '.join(differences)}")
    if "dolly zoom" in scores:
        held = [f"{kind} {with_interval(by_clip([scores['dolly zoom'][kind]], 'size_held'))}" for kind in ROWS]
        lines += ["", f"Dolly zoom, share of clips that hold the subject's size as still ones do: {', '.join(held)}"]
    title, columns = "Report motions on new subjects and places", ("motion", "T-LoRA", *TITLES)
    write_table("motions", title, columns, rows, "\n".join(lines), RESULTS)


def both(session: Session, judge: Judge, motions: list[Motion], limits: dict[str, float]) -> None:
    """Twirl and dolly zoom in the same clips."""
    clips = make(session, judge, REPORT_PROMPTS, SEEDS, motions)
    rows = []
    for motion, channel in (("twirl", "yaw"), ("dolly zoom", "camera_zoom")):
        truth = reference_of(motion).channels
        scores = [channel_scores(clip.reading.channels, truth)[channel] for clip in clips]
        rows.append((f"{motion}: {channel}", with_interval(scores)))
    held = [score(clip, reference_of("dolly zoom"), limits).size_held for clip in clips]
    rows.append(("share that hold the subject's size", with_interval(held)))
    write_table("both", "twirl and dolly_zoom:0.7 at once", ("channel", "score"), rows, folder=RESULTS)
    sheet = [(f"{clip.asked.prompt}\nseed {clip.seed}", clip.frames) for clip in clips]
    video.contact_sheet(sheet, RESULTS / "both.png", scale=1)


if __name__ == "__main__":
    main()
