"""How well cav-mini does what its captions say: `python -m tests.benchmarks2.base_model [NUM_PROMPTS] [FOLDER]`.

Prompts of pretraining's kind with fresh seeds, default guidance and steps; the judge reads the clips.
"""

import sys
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np

from cavtool import video
from cavtool.core.metrics.channels import amplitude_ratio, correlation, spread
from cavtool.mini2.judge.reading import WEIGHTS, Reading, load_judge
from cavtool.mini2.world.motions import CAMERA_MOTIONS, OBJECT_MOTIONS, Tracks
from cavtool.mini2.world.places import HELD_OUT_PLACES, PLACES
from cavtool.mini2.world.scenes import POSES, TIME, Scene, caption
from cavtool.mini2.world.subjects import COLOURLESS, COLOURS, SUBJECTS
from cavtool.recipes import SampleRecipe
from tests.benchmarks.tables import with_interval, write_table
from tests.benchmarks2.session import open_folder

RESULTS = Path(__file__).parent / "results"
_STILL = {
    "x": 0.12,
    "y": 0.12,
    "log_scale": 0.25,
    "roll": 15.0,
    "yaw": 40.0,
    "camera_x": 0.1,
    "camera_y": 0.08,
    "camera_zoom": 0.15,
}
_MOVES = 0.02  # a spread above it is a movement
_OBJECT, _CAMERA = ("x", "y", "log_scale", "roll", "yaw"), ("camera_x", "camera_y", "camera_zoom")
_PLACES = [place for place in PLACES if place not in HELD_OUT_PLACES]


def ask(seed: int) -> tuple[Scene, str, str]:
    """A full sentence: the scene that would show it, its object motion, its camera motion."""
    rng = np.random.default_rng((seed, 77))
    subject, colour, place = (str(rng.choice(names)) for names in (SUBJECTS, list(COLOURS), _PLACES))
    motion = str(rng.choice(list(OBJECT_MOTIONS)))
    camera = str(rng.choice(list(CAMERA_MOTIONS))) if rng.random() < 0.5 else ""
    if camera.startswith(("zooms", "dollies")) and motion in {"grows", "shrinks"}:
        camera = ""  # one would hide the other
    controls = OBJECT_MOTIONS[motion](TIME, 1.0) | (CAMERA_MOTIONS[camera](TIME, 1.0) if camera else {})
    colour = "" if subject == COLOURLESS else colour
    return Scene(subject, colour, place, 0, controls, caption(subject, colour, place, motion, camera)), motion, camera


def moves_as_asked(read: Tracks, asked: Tracks, names: tuple[str, ...]) -> bool:
    """Every channel that should move does so the right way and far enough."""
    return all(
        correlation(name, read[name], asked[name]) >= 0.6 and 0.3 < amplitude_ratio(name, read[name], asked[name]) < 2.5
        for name in names
        if spread(name, asked[name]) > _MOVES
    )


def else_still(read: Tracks, asked: Tracks, names: tuple[str, ...]) -> bool:
    """Every channel that should not move stays about still."""
    return all(spread(name, read[name]) <= _STILL[name] for name in names if spread(name, asked[name]) <= _MOVES)


class Tally:
    """Which clips were right, by what was asked."""

    def __init__(self) -> None:
        self.right: dict[str, list[bool]] = defaultdict(list)
        self.by_motion: dict[str, list[bool]] = defaultdict(list)

    def add(self, scene: Scene, motion: str, camera: str, reading: Reading) -> None:
        """Compare what was read with what was asked for."""
        for name in ("subject", "colour", "place"):
            if getattr(scene, name):
                self.right[name].append(getattr(reading, name) == getattr(scene, name))
        for name, channels, asked in (("object", _OBJECT, motion), ("camera", _CAMERA, camera)):
            if asked not in {"", "stands still"}:
                as_asked = moves_as_asked(reading.channels, scene.channels, channels)
                self.right[f"{name} moves as asked"].append(as_asked)
                self.by_motion[asked].append(as_asked)
                if asked.startswith(("turns", "tips")):
                    self.right["object turns and tips as asked"].append(as_asked)
            self.right[f"{name}: nothing else moves"].append(else_still(reading.channels, scene.channels, channels))

    def rows(self) -> list[tuple[str, str, str]]:
        """What was asked, the share that is right, of how many."""
        motions = [name for name in (*OBJECT_MOTIONS, *CAMERA_MOTIONS) if name in self.by_motion]
        found = self.right | {f"... {name}": self.by_motion[name] for name in motions}
        return [(name, with_interval([float(v) for v in values]), str(len(values))) for name, values in found.items()]


def main() -> None:
    """Measure and write."""
    num_prompts = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else WEIGHTS.parent
    session, judge, usual, tally = open_folder(folder), load_judge(folder / WEIGHTS.name), SampleRecipe("a"), Tally()
    seen = []
    for i in range(num_prompts):
        scene, motion, camera = ask(i)
        frames = session.generate(scene.caption, 5000 + i, steps=usual.steps, guidance=usual.guidance)
        reading = judge.read(frames)
        tally.add(scene, motion, camera, reading)
        if i < 24:
            seen.append((f"{scene.caption}\nread: {reading.colour} {reading.subject}, {reading.place}", frames))
    looks = list(zip(SUBJECTS[1:], list(COLOURS)[1:], _PLACES + _PLACES, strict=False))[: max(1, num_prompts // 16)]
    for (pose, (channel, low, high)), look in product(POSES.items(), looks):
        frames = session.generate(caption(*look, pose=pose), 7000, steps=usual.steps, guidance=usual.guidance)
        turned = float(np.median(judge.read(frames).channels[channel])) % 360
        tally.right[f"{pose}, as asked"].append(low <= turned <= high)
    title, columns = "cav-mini: what its captions say", ("right", "share", "of")
    write_table("base_model", title, columns, tally.rows(), folder=RESULTS)
    video.contact_sheet(seen, RESULTS / "base_model.png", scale=1)


if __name__ == "__main__":
    main()
