"""Parts that the benchmarks share: references that cav-mini was not trained on, prompts that it knows, tables."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cavtool import video
from cavtool.core.metrics.channels import (
    active_channels,
    fidelity,
    leaked,
    spread,
    spread_limits,
    stillness,
)
from cavtool.core.metrics.stats import bootstrap_interval, paired_interval
from cavtool.mini import world
from cavtool.mini.judge import Judge, Reading
from cavtool.recipes import LearnRecipe, SampleRecipe
from cavtool.studio.learn import learn
from cavtool.studio.session import Motion, Session
from cavtool.workspace import Workspace

RESULTS = Path(__file__).parent / "results"

# Subject, colour and place of each reference. Pretraining drew none of them; tuning and reporting share none.
TUNE_LOOKS = {
    "zigzag": ("duck", "white", "kitchen"),
    "circle": ("chair", "grey", "kitchen"),
    "swing": ("duck", "grey", "kitchen"),
    "spiral": ("chair", "white", "kitchen"),
    "push": ("chair", "grey", "kitchen"),
    "nod": ("duck", "white", "kitchen"),
}
# Further motions for tuning, because those of the world neither zoom nor turn about the vertical.
MORE_TUNE_MOTIONS: dict[str, Callable[[world.Track], world.Tracks]] = {
    "push": lambda u: {"camera_zoom": 0.3 + 0.3 * np.sin(3 * np.pi * u)},
    "nod": lambda u: {"yaw": 80 * np.sin(3 * np.pi * u)},
}
REPORT_LOOKS = {
    "twirl": ("lantern", "white", "moon"),
    "dolly zoom": ("teapot", "grey", "moon"),
    "somersault": ("lantern", "grey", "moon"),
    "figure eight": ("teapot", "white", "moon"),
}
TUNE_PROMPTS = (("star", "yellow", "ocean"), ("rocket", "purple", "snow"), ("boat", "orange", "desert"))
REPORT_PROMPTS = (
    ("cat", "red", "forest"),
    ("robot", "blue", "desert"),
    ("car", "green", "city"),
    ("bird", "pink", "night"),
)


@dataclass(frozen=True)
class Asked:
    """A subject, its colour, place and motion, and the prompt that describes them."""

    subject: str
    colour: str
    place: str
    motion: str = ""

    @property
    def prompt(self) -> str:
        return world.caption(self.subject, self.colour, self.place, self.motion)

    @property
    def attributes(self) -> dict[str, str]:
        return {"subject": self.subject, "colour": self.colour, "place": self.place}


@dataclass(frozen=True)
class Clip:
    """A generated clip, and what the judge reads in it."""

    asked: Asked
    seed: int
    frames: video.Frames
    reading: Reading


@dataclass(frozen=True)
class Score:
    """One clip against a reference; `leaked` is NaN if the judge cannot name the reference's appearance."""

    fidelity: float
    stillness: float
    right: float
    leaked: float
    size_held: float


SCORES = ("fidelity", "stillness", "right", "leaked")
TITLES = ("fidelity", "stillness", "attributes right", "leakage")


def make(
    session: Session,
    judge: Judge,
    looks: Sequence[tuple[str, str, str]],
    seeds: Sequence[int],
    motions: Sequence[Motion] = (),
    how: str = "",
) -> list[Clip]:
    """A clip of every scene with every seed; `how` is the motion in the prompt."""
    usual, clips = SampleRecipe("a"), []
    for asked in (Asked(*look, how) for look in looks):
        for seed in seeds:
            frames = session.generate(asked.prompt, seed, motions, steps=usual.steps, guidance=usual.guidance)
            clips.append(Clip(asked, seed, frames, judge.read(frames)))
    return clips


def limits_of_stillness(session: Session, judge: Judge, looks: Sequence[tuple[str, str, str]]) -> dict[str, float]:
    """The spread of each channel in the base's own clips of subjects that stand still."""
    clips = make(session, judge, looks, range(900, 903), how="stands still")
    return spread_limits([clip.reading.channels for clip in clips])


def score(clip: Clip, scene: world.Scene, limits: dict[str, float]) -> Score:
    """The score of a clip against a reference."""
    asked, reading, truth = clip.asked, clip.reading, scene.channels
    seen = _seen(clip)
    theirs = {"subject": scene.subject, "colour": scene.colour, "place": scene.place}
    return Score(
        fidelity(reading.channels, truth),
        stillness(reading.channels, active_channels(truth), limits),
        right(clip),
        float(np.mean(list(leaked(asked.attributes, seen, theirs).values()))) if scene.subject else float("nan"),
        float(spread("log_scale", reading.channels["log_scale"]) <= limits["log_scale"]),
    )


def right(clip: Clip) -> float:
    """The share of the attributes asked for that the judge sees."""
    seen = _seen(clip)
    return float(np.mean([seen[name] == value for name, value in clip.asked.attributes.items()]))


def _seen(clip: Clip) -> dict[str, str]:
    reading = clip.reading
    return {"subject": reading.subject, "colour": reading.colour, "place": reading.place}


def by_clip(scores: Sequence[Sequence[Score]], name: str) -> list[float]:
    """A score averaged over motions: one number for each prompt and seed, the same ones for every motion."""
    return [float(value) for value in np.mean([[getattr(s, name) for s in motion] for motion in scores], axis=0)]


def reference(motion: str, looks: dict[str, tuple[str, str, str]]) -> world.Scene:
    """The reference scene of a motion."""
    if motion not in MORE_TUNE_MOTIONS:
        return world.reference(motion, *looks[motion], layout=3)
    tracks = MORE_TUNE_MOTIONS[motion](np.linspace(0, 1, world.NUM_FRAMES))
    return world.Scene(*looks[motion], 3, tracks, world.caption(*looks[motion], motion))


Recipe = Callable[[str, str], LearnRecipe]  # from prompt and appearance


def learn_reference(name: str, scene: world.Scene, recipe: Recipe, workspace: Workspace, folder: Path) -> None:
    """Learn a scene's motion from a real mp4 of it."""
    file = folder / f"{name}.mp4"
    video.encode(world.render(scene), file, fps=world.FPS, scale=4)
    appearance = world.caption(scene.subject, scene.colour, scene.place)
    learn_file(name, file, recipe(scene.caption, appearance), workspace)


def learn_file(name: str, file: Path, recipe: LearnRecipe, workspace: Workspace) -> None:
    """Learn a motion from a file, replacing an older one of that name."""
    learn(name, file, recipe, replace=True, workspace=workspace)


def with_interval(values: Sequence[float]) -> str:
    """Mean and its 95 % bootstrap interval; a dash if a value is not finite."""
    if not np.isfinite(values).all():
        return "-"
    low, high = bootstrap_interval(values)
    return f"{sum(values) / len(values):.2f} [{low:.2f}, {high:.2f}]"


def with_difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Mean difference of pairs and its 95 % bootstrap interval; two rows differ if the interval excludes 0."""
    low, high = paired_interval(ours, theirs)
    return f"{np.mean(np.subtract(ours, theirs)):+.2f} [{low:+.2f}, {high:+.2f}]"


def installed(bytecode: str) -> dict[str, str]:
    """Variables with which `cav` runs as pip installs it: modules compiled, in the folder `bytecode`; output buffered.

    The first run compiles the modules.
    """
    unlike = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    kept = {name: value for name, value in os.environ.items() if name not in unlike}
    return {**kept, "PYTHONPYCACHEPREFIX": bytecode}


def write_table(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: str = "",
    folder: Path = RESULTS,
) -> None:
    """Print a table and save it as Markdown, with the command that made it."""
    lines = [
        f"# {title}",
        "",
        f"`python -m tests.{folder.parent.name}.{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:])}`".replace(" `", "`"),
        "",
    ]
    lines += [
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    text = "\n".join([*lines, *([notes, ""] if notes else [])])
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    print(text)
