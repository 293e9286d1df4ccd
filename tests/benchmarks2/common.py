"""What the benchmarks share: references with appearances cav-mini never saw, prompts of those it knows, scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cavtool import video
from cavtool.core.metrics.channels import active_channels, fidelity, leaked, spread, spread_limits, stillness
from cavtool.mini2.judge.reading import Judge, Reading
from cavtool.mini2.world.motions import HELD_OUT_MOTIONS, REPORT_MOTIONS, TUNE_MOTIONS, Track, Tracks
from cavtool.mini2.world.scenes import FPS, TIME, Scene, caption, reference, render
from cavtool.recipes import LearnRecipe, SampleRecipe
from cavtool.studio.session import Motion, Session

RESULTS = Path(__file__).parent / "results"

# Subject, colour and place of every reference, none of which pretraining drew; tuning and reporting share none.
TUNE_REFERENCES = {
    "zigzag": ("duck", "white", "kitchen"),
    "circle": ("chair", "grey", "kitchen"),
    "swing": ("duck", "grey", "kitchen"),
    "spiral": ("chair", "white", "kitchen"),
    "push": ("chair", "grey", "kitchen"),
    "nod": ("duck", "white", "kitchen"),
}
# To tune on as well: the world's own tune motions neither zoom nor turn about the vertical.
MORE_TUNE_MOTIONS: dict[str, Callable[[Track], Tracks]] = {
    "push": lambda u: {name: 0.6 * np.sin(3 * np.pi * u) for name in ("log_distance", "log_focal")},
    "nod": lambda u: {"yaw": 80 * np.sin(3 * np.pi * u)},
}
REPORT_REFERENCES = {
    "twirl": ("teapot", "white", "moon"),
    "dolly zoom": ("lantern", "grey", "moon"),
    "somersault": ("lantern", "white", "moon"),
    "figure eight": ("teapot", "grey", "moon"),
    "orbit": ("teapot", "white", "moon"),
    "fly-over": ("lantern", "grey", "moon"),
}
TUNE_PROMPTS = (("rocket", "purple", "snow"), ("boat", "orange", "desert"), ("dinosaur", "yellow", "ocean"))
REPORT_PROMPTS = (
    ("cat", "red", "forest"),
    ("box", "blue", "desert"),
    ("car", "green", "city"),
    ("bird", "pink", "night"),
)
assert set(TUNE_REFERENCES) == set(TUNE_MOTIONS) | set(MORE_TUNE_MOTIONS)
assert set(REPORT_REFERENCES) == set(REPORT_MOTIONS)


@dataclass(frozen=True)
class Asked:
    """What a prompt asks for."""

    subject: str
    colour: str
    place: str
    motion: str = ""

    @property
    def prompt(self) -> str:
        """The prompt."""
        return caption(self.subject, self.colour, self.place, self.motion)

    @property
    def attributes(self) -> dict[str, str]:
        """What it should show."""
        return {"subject": self.subject, "colour": self.colour, "place": self.place}


@dataclass(frozen=True)
class Clip:
    """A generated clip and what the judge sees in it."""

    asked: Asked
    seed: int
    frames: video.Frames
    reading: Reading


@dataclass(frozen=True)
class Score:
    """One clip against a reference; `leaked` is NaN if the reference has no attribute that the judge could name."""

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
    prompts: Sequence[tuple[str, str, str]],
    seeds: Sequence[int],
    motions: Sequence[Motion] = (),
    motion: str = "",
) -> list[Clip]:
    """Every prompt with every seed; `motion` is what its words ask for."""
    usual, clips = SampleRecipe("a"), []
    for asked in (Asked(*prompt, motion) for prompt in prompts):
        for seed in seeds:
            frames = session.generate(asked.prompt, seed, motions, steps=usual.steps, guidance=usual.guidance)
            clips.append(Clip(asked, seed, frames, judge.read(frames)))
    return clips


def limits_of_stillness(session: Session, judge: Judge, prompts: Sequence[tuple[str, str, str]]) -> dict[str, float]:
    """How far each channel goes in the base's own clips of subjects that stand still."""
    clips = make(session, judge, prompts, range(900, 903), motion="stands still")
    return spread_limits([clip.reading.channels for clip in clips])


def score(clip: Clip, scene: Scene, limits: dict[str, float]) -> Score:
    """A clip against a reference."""
    asked, reading, truth = clip.asked, clip.reading, scene.channels
    seen = {"subject": reading.subject, "colour": reading.colour, "place": reading.place}
    theirs = {"subject": scene.subject, "colour": scene.colour, "place": scene.place}
    return Score(
        fidelity(reading.channels, truth),
        stillness(reading.channels, active_channels(truth), limits),
        float(np.mean([seen[name] == value for name, value in asked.attributes.items()])),
        float(np.mean(list(leaked(asked.attributes, seen, theirs).values()))) if scene.subject else float("nan"),
        float(spread("log_scale", reading.channels["log_scale"]) <= limits["log_scale"]),
    )


def by_clip(scores: Sequence[Sequence[Score]], name: str) -> list[float]:
    """A score of several motions, averaged over them: one number for each prompt and seed, which are what repeats."""
    return [float(value) for value in np.mean([[getattr(s, name) for s in motion] for motion in scores], axis=0)]


def reference_of(motion: str) -> Scene:
    """The reference scene of a motion to tune on or to report."""
    if motion in HELD_OUT_MOTIONS:
        return reference(motion, *(TUNE_REFERENCES | REPORT_REFERENCES)[motion], layout=3)
    attributes = TUNE_REFERENCES[motion]
    return Scene(*attributes, 3, MORE_TUNE_MOTIONS[motion](TIME), caption(*attributes, motion))


def write_reference(scene: Scene, file: Path) -> LearnRecipe:
    """Write a scene as a real mp4; returns the recipe to learn from it."""
    video.encode(render(scene), file, fps=FPS, scale=4)
    appearance = caption(scene.subject, scene.colour, scene.place)
    return LearnRecipe(prompt=scene.caption, appearance=appearance)
