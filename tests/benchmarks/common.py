"""Parts that the benchmarks share: references that cav-mini was not trained on, prompts that it knows, scores."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from cavtool import video
from cavtool.core.metrics.channels import (
    active_channels,
    fidelity,
    leaked,
    spread,
    spread_limits,
    stillness,
)
from cavtool.core.trainer import Trainer
from cavtool.errors import NotFound
from cavtool.events import Event, Note
from cavtool.mini import world
from cavtool.mini.judge import Judge, Reading
from cavtool.models import find_model
from cavtool.recipes import LearnRecipe, SampleRecipe
from cavtool.recipes.learn import MAX_STEPS
from cavtool.schema import to_table
from cavtool.studio.learn import learn
from cavtool.studio.session import Motion, Session, motion_of
from cavtool.system.checksums import file_sha256
from cavtool.workspace import Workspace

# Subject, colour and place of each reference. Pretraining drew none of them; tuning and reporting share none.
TUNE_REFERENCES = {
    "zigzag": ("duck", "white", "kitchen"),
    "circle": ("chair", "grey", "kitchen"),
    "swing": ("duck", "grey", "kitchen"),
    "spiral": ("chair", "white", "kitchen"),
    "push": ("chair", "grey", "kitchen"),
    "nod": ("duck", "white", "kitchen"),
}
# Further motions: those of the world neither zoom, nor turn about the vertical for tuning, nor only change in size.
MORE_MOTIONS: dict[str, Callable[[world.Track], world.Tracks]] = {
    "push": lambda u: {"camera_zoom": 0.3 + 0.3 * np.sin(3 * np.pi * u)},
    "nod": lambda u: {"yaw": 80 * np.sin(3 * np.pi * u)},
    "pulse": lambda u: {"log_scale": 0.5 * np.sin(2 * np.pi * u) ** 2},
}
REPORT_REFERENCES = {
    "twirl": ("lantern", "white", "moon"),
    "dolly zoom": ("teapot", "grey", "moon"),
    "somersault": ("lantern", "grey", "moon"),
    "figure eight": ("teapot", "white", "moon"),
    "pulse": ("lantern", "white", "moon"),
}
TUNE_PROMPTS = (("star", "yellow", "ocean"), ("rocket", "purple", "snow"), ("boat", "orange", "desert"))
REPORT_PROMPTS = (
    ("cat", "red", "forest"),
    ("robot", "blue", "desert"),
    ("car", "green", "city"),
    ("bird", "pink", "night"),
)

LEARNING = 4  # one more whenever the same recipe learns another motion than before


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
    motion: str = "",
    *,
    turns: bool = False,
) -> list[Clip]:
    """A clip of every scene with every seed; `motion` is what the prompt says of it."""
    usual, clips = SampleRecipe("a"), []
    for asked in (Asked(*look, motion) for look in looks):
        for seed in seeds:
            frames = session.generate(
                asked.prompt, seed, motions, turns=turns, steps=usual.steps, guidance=usual.guidance
            )
            clips.append(Clip(asked, seed, frames, judge.read(frames)))
    return clips


def limits_of_stillness(session: Session, judge: Judge, looks: Sequence[tuple[str, str, str]]) -> dict[str, float]:
    """The spread of each channel in the base's own clips of subjects that stand still."""
    clips = make(session, judge, looks, range(900, 903), motion="stands still")
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


def reference_of(motion: str) -> world.Scene:
    """The reference scene of a motion to tune on or to report."""
    attributes = (TUNE_REFERENCES | REPORT_REFERENCES)[motion]
    if motion in world.HELD_OUT_MOTIONS:
        return world.reference(motion, *attributes, layout=3)
    return world.Scene(*attributes, 3, MORE_MOTIONS[motion](world.TIME), world.caption(*attributes, motion))


def write_reference(scene: world.Scene, file: Path) -> LearnRecipe:
    """Write a scene as a real mp4; returns the recipe to learn from it."""
    video.encode(world.render(scene), file, fps=world.FPS, scale=4)
    appearance = world.caption(scene.subject, scene.colour, scene.place)
    return LearnRecipe(prompt=scene.caption, appearance=appearance)


def learned(motion: str, **changes: Any) -> Motion:
    """A motion learned from its reference, with these changes to the default recipe."""
    return learned_from(partial(write_reference, reference_of(motion)), **changes)


def learned_from(write: Callable[[Path], LearnRecipe], **changes: Any) -> Motion:
    """A motion learned from the file that `write` makes, with the recipe that it returns and these changes.

    It is learned once, and kept in the user's cache for all benchmarks.
    """
    workspace = Workspace(user_cache_path("cav-benchmarks"))
    with TemporaryDirectory() as folder:
        file = Path(folder, "reference.mp4")
        recipe = replace(write(file), **changes)
        key = json.dumps({"clip": file_sha256(file), **what_it_depends_on(recipe)}, sort_keys=True)
        name = f"motion-{sha256(key.encode()).hexdigest()[:16]}"
        try:
            return motion_of(workspace.registry.get(name, "motion"))
        except NotFound:
            return motion_of(learn(name, file, recipe, workspace=workspace, on_event=_show_notes))


def what_it_depends_on(recipe: LearnRecipe) -> dict[str, Any]:
    """What a learned motion depends on besides the clip: the recipe with what it leaves to the model, and the code."""
    native = find_model("cav-mini").native
    noise_from = native.noise_from if recipe.noise_from is None else recipe.noise_from
    table = to_table(replace(recipe, noise_from=noise_from))
    return {**base(), "recipe": table, "decay": Trainer.decay, "at most": MAX_STEPS, "learning": LEARNING}


def base() -> dict[str, Any]:
    """The base model's weights."""
    return {"revision": find_model("cav-mini").revision}


def _show_notes(event: Event) -> None:
    if isinstance(event, Note):
        print(event.text, flush=True)
