"""The report motions on new subjects and places: `python -m tests.benchmarks.motions`.

Each reference shows a look cav-mini never saw, one of them (`filmed`) is made of photos. Rows: the base with the same
prompts; T-LoRA without an absorber; with the dual one. Then twirl and dolly zoom at once. The judge reads the clips.
Needs scikit-image for the photos.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cavtool import video
from cavtool.core.metrics import (
    active_channels,
    channel_scores,
    fidelity,
    leaked,
    paired_interval,
    spread_limits,
    stillness,
)
from cavtool.mini import world
from cavtool.mini.judge import Judge, Reading, load_judge
from cavtool.recipes import AbsorberKind, LearnRecipe, SampleRecipe
from cavtool.registry.store import Registry
from cavtool.studio.session import Motion, Session, motion_of, open_session
from tests.benchmarks import filmed
from tests.benchmarks.common import (
    REPORT_LOOKS,
    REPORT_PROMPTS,
    RESULTS,
    Asked,
    learn_file,
    learn_reference,
    reference,
    with_interval,
    write_table,
)

SEEDS = (101, 102)
ROWS = ("base", "none", "dual")
Clip = tuple[Asked, int, video.Frames, Reading]


@dataclass(frozen=True)
class Score:
    """One clip of one row."""

    fidelity: float
    stillness: float
    right: float
    leaked: float


def make(session: Session, judge: Judge, motions: list[Motion]) -> list[Clip]:
    """Every prompt with every seed."""
    usual, clips = SampleRecipe("a"), []
    for looks in REPORT_PROMPTS:
        asked = Asked(*looks)
        for seed in SEEDS:
            frames = session.generate(asked.prompt, seed, motions, steps=usual.steps, guidance=usual.guidance)
            clips.append((asked, seed, frames, judge.read(frames)))
    return clips


def score(clip: Clip, scene: world.Scene, limits: dict[str, float]) -> Score:
    """A clip against a reference."""
    asked, _, _, reading = clip
    truth = scene.channels()
    seen = {"subject": reading.subject, "colour": reading.colour, "place": reading.place}
    theirs = {"subject": scene.subject, "colour": scene.colour, "place": scene.place}
    leaks = leaked(asked.attributes, seen, theirs)
    return Score(
        fidelity(reading.channels, truth),
        stillness(reading.channels, active_channels(truth), limits),
        float(np.mean([seen[name] == value for name, value in asked.attributes.items()])),
        float(np.mean(list(leaks.values()))),
    )


def seen_by_the_model(file: Path) -> video.Frames:
    """A reference at the model's size and rate."""
    duration = world.NUM_FRAMES / world.FPS
    return video.decode(
        file, start=0.0, duration=duration, num_frames=world.NUM_FRAMES, width=world.SIDE, height=world.SIDE
    )


def main() -> None:
    session, judge = open_session("cav-mini"), load_judge()
    base = make(session, judge, [])
    still = [world.caption(*looks, "stands still") for looks in REPORT_PROMPTS]
    usual = SampleRecipe("a")
    quiet = [
        judge.read(session.generate(p, 900 + i, steps=usual.steps, guidance=usual.guidance)).channels
        for i in range(3)
        for p in still
    ]
    limits = spread_limits(quiet)
    scores: dict[tuple[str, str], list[Score]] = {}
    learned: dict[str, Motion] = {}
    with TemporaryDirectory() as folder:
        registry = Registry(Path(folder) / "assets")
        for motion in (*world.REPORT_MOTIONS, "filmed"):
            scene = filmed.scene() if motion == "filmed" else reference(motion, REPORT_LOOKS)
            scores[motion, "base"] = [score(clip, scene, limits) for clip in base]
            sheet: list[tuple[str, video.Frames]] = []
            for kind in (AbsorberKind.NONE, AbsorberKind.DUAL):
                name = f"{motion.replace(' ', '_')}-{kind}"

                def recipe(prompt: str, look: str, kind: AbsorberKind = kind) -> LearnRecipe:
                    return LearnRecipe(prompt=prompt, appearance=look, absorber_kind=kind)

                if motion == "filmed":
                    filmed.film(Path(folder) / "filmed.mp4")
                    learn_file(name, Path(folder) / "filmed.mp4", recipe(filmed.PROMPT, filmed.APPEARANCE), registry)
                else:
                    learn_reference(name, scene, recipe, registry, Path(folder))
                asset = registry.get(name)
                learned[motion] = motion_of(asset)  # of the last kind, dual
                sheet = sheet or [(f"{motion}\nreference", seen_by_the_model(asset.reference))]
                clips = make(session, judge, [learned[motion]])
                scores[motion, str(kind)] = [score(clip, scene, limits) for clip in clips]
                sheet += [(f"{c[0].prompt}\n{kind}, seed {c[1]}", c[2]) for c in clips]
            video.contact_sheet(sheet, RESULTS / f"motion-{motion.replace(' ', '-')}.png", scale=1)
    report(scores)
    both(session, judge, [learned["twirl"], replace(learned["dolly zoom"], weight=0.7)])


def report(scores: dict[tuple[str, str], list[Score]]) -> None:
    """A row a motion and kind, and all motions together; then none against dual, paired."""
    rows: list[tuple[str, ...]] = []
    for motion in (*world.REPORT_MOTIONS, "all four", "filmed"):
        for kind in ROWS:
            motions = world.REPORT_MOTIONS if motion == "all four" else (motion,)
            mine = [s for m in motions for s in scores[m, kind]]
            columns = ("fidelity", "stillness", "right", "leaked")
            rows.append((motion, kind, *(with_interval([getattr(s, name) for s in mine]) for name in columns)))
    by_kind = {kind: [s for motion in world.REPORT_MOTIONS for s in scores[motion, kind]] for kind in ROWS}
    notes = []
    for name in ("fidelity", "right", "leaked"):
        dual, none = ([getattr(s, name) for s in by_kind[kind]] for kind in ("dual", "none"))
        low, high = paired_interval(dual, none)
        notes.append(f"dual less none, {name}: [{low:+.3f}, {high:+.3f}] (paired 95 % interval)")
    titles = ("motion", "T-LoRA", "fidelity", "stillness", "attributes right", "leakage")
    write_table("motions", "Report motions on new subjects and places", titles, rows, "\n".join(notes))


def both(session: Session, judge: Judge, motions: list[Motion]) -> None:
    """Twirl and dolly zoom in the same clips."""
    clips = make(session, judge, motions)
    yaw = [channel_scores(c[3].channels, reference("twirl", REPORT_LOOKS).channels())["yaw"] for c in clips]
    dolly = reference("dolly zoom", REPORT_LOOKS).channels()
    zoom = [channel_scores(c[3].channels, dolly)["camera_zoom"] for c in clips]
    rows = [("twirl's yaw", with_interval(yaw)), ("dolly zoom's log zoom", with_interval(zoom))]
    write_table("both", "twirl and dolly_zoom:0.7 at once", ("channel", "score"), rows)
    video.contact_sheet([(f"{c[0].prompt}\nseed {c[1]}", c[2]) for c in clips], RESULTS / "both.png", scale=1)


if __name__ == "__main__":
    main()
