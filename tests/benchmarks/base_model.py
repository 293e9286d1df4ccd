"""How well cav-mini follows its captions: `python -m tests.benchmarks.base_model [NUM_PROMPTS]`.

The prompts are like those of pretraining, with other seeds, default guidance and steps; the judge reads the clips.
"""

import sys
from collections import defaultdict
from itertools import product

import numpy as np

from cavtool import video
from cavtool.core.metrics.channels import amplitude_ratio, correlation, spread
from cavtool.mini import world
from cavtool.mini.judge import load_judge
from cavtool.mini.places import PLACES
from cavtool.mini.sprites import COLOURS, SUBJECTS
from cavtool.recipes import SampleRecipe
from cavtool.studio.session import open_session
from tests.benchmarks.tables import RESULTS, with_interval, write_table

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


def random_scene(seed: int) -> tuple[world.Scene, str, str]:
    """A scene with its caption, the motion of its object, and that of its camera (empty for none)."""
    rng = np.random.default_rng((seed, 77))
    subject, colour, place = (str(rng.choice(list(names))) for names in (SUBJECTS, COLOURS, PLACES))
    motion = str(rng.choice(list(world.OBJECT_MOTIONS)))
    camera = str(rng.choice(list(world.CAMERA_MOTIONS)[1:])) if rng.random() < 0.5 else ""
    if camera.startswith("zooms") and motion in {"grows", "shrinks"}:
        camera = ""  # one would hide the other
    time = np.linspace(0, 1, world.NUM_FRAMES)
    tracks = {name: np.zeros(world.NUM_FRAMES) for name in world.CHANNELS}
    for moved in (world.OBJECT_MOTIONS[motion](time, 1.0), world.CAMERA_MOTIONS[camera](time, 1.0)):
        for name, track in moved.items():
            tracks[name] = tracks[name] + track
    return (
        world.Scene(subject, colour, place, 0, tracks, world.caption(subject, colour, place, motion, camera)),
        motion,
        camera,
    )


POSED = tuple(zip(SUBJECTS, COLOURS, 2 * tuple(PLACES), strict=False))


def moves_as_requested(read: world.Tracks, truth: world.Tracks, names: tuple[str, ...]) -> bool:
    """Whether every channel that should move does so in the right way and far enough."""
    return all(
        correlation(name, read[name], truth[name]) >= 0.6 and 0.3 < amplitude_ratio(name, read[name], truth[name]) < 2.5
        for name in names
        if spread(name, truth[name]) > _MOVES
    )


def others_still(read: world.Tracks, truth: world.Tracks, names: tuple[str, ...]) -> bool:
    """Whether every channel that should not move stays about still."""
    return all(spread(name, read[name]) <= _STILL[name] for name in names if spread(name, truth[name]) <= _MOVES)


def main() -> None:
    num_prompts = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    session, judge, usual = open_session("cav-mini"), load_judge(), SampleRecipe("a")
    right: dict[str, list[bool]] = defaultdict(list)
    by_motion: dict[str, list[bool]] = defaultdict(list)
    seen = []
    for i in range(num_prompts):
        scene, motion, camera = random_scene(i)
        frames = session.generate(scene.caption, 5000 + i, steps=usual.steps, guidance=usual.guidance)
        reading = judge.read(frames)
        right["subject"].append(reading.subject == scene.subject)
        if scene.subject != "ironman":
            right["colour"].append(reading.colour == scene.colour)
        right["place"].append(reading.place == scene.place)
        for name, channels, moves in (("object", _OBJECT, motion != "stands still"), ("camera", _CAMERA, camera)):
            as_requested = moves_as_requested(reading.channels, scene.channels, channels)
            still = others_still(reading.channels, scene.channels, channels)
            if moves:
                right[f"{name} moves as requested"].append(as_requested)
                by_motion[motion if name == "object" else camera].append(as_requested)
            right[f"{name}: nothing else moves"].append(still)
            right[f"{name} motion: both"].append(as_requested and still)
        if i < 24:
            seen.append((f"{scene.caption}\nread: {reading.colour} {reading.subject}, {reading.place}", frames))
    for motion in (*list(world.OBJECT_MOTIONS)[1:], *list(world.CAMERA_MOTIONS)[1:]):
        if motion in by_motion:
            right[f"... {motion}"] = by_motion[motion]
    for (pose, (channel, low, high)), subject in product(world.POSES.items(), POSED):
        frames = session.generate(world.caption(*subject, pose=pose), 7000, steps=usual.steps, guidance=usual.guidance)
        read = judge.read(frames).channels
        right[f"{pose}, as requested"].append(low <= float(np.median(read[channel])) % 360 <= high)
    rows = [(name, with_interval([float(v) for v in values]), str(len(values))) for name, values in right.items()]
    write_table("base_model", "How well cav-mini follows its captions", ("correct", "share", "of prompts"), rows)
    video.contact_sheet(seen, RESULTS / "base_model.png", scale=1)


if __name__ == "__main__":
    main()
