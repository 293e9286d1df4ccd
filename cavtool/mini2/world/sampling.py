"""What pretraining shows: scenes drawn from a seed, in every pose of the held-out motions and none of their tracks."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from cavtool.core.metrics.channels import fidelity, spread
from cavtool.mini2.world.motions import (
    CAMERA_CONTROLS,
    CAMERA_MOTIONS,
    CAMERA_WANDERING,
    HELD_OUT_MOTIONS,
    OBJECT_MOTIONS,
    SUBJECT_CONTROLS,
    WANDERING,
    Tracks,
    triangle,
)
from cavtool.mini2.world.places import HELD_OUT_PLACES, PLACES
from cavtool.mini2.world.scenes import HELD_OUT_WORDS, NUM_FRAMES, POSES, TIME, Scene, caption
from cavtool.mini2.world.subjects import COLOURLESS, COLOURS, SUBJECTS

NUM_LAYOUTS = 64
_ALIKE = 0.6  # a fidelity above it passes for a held-out motion; half of a motion's channels alone give 0.5
_TWICE = ("turns", "tips", "wobbles", "pans", "zooms", "dollies")  # as often as the others: they are learned last
_PLACES = tuple(place for place in PLACES if place not in HELD_OUT_PLACES)


def sample_scene(seed: int) -> Scene:
    """A pretraining scene: everything drawn from the seed; caption of random length, sometimes with a word of nonsense.

    A third moves in a way of its own, for which the caption has no word or a word of nonsense: a real model has seen
    many more motions than it can name, and learning one is to find it among them.
    """
    rng = np.random.default_rng(seed)
    subject, colour, place = _sample_attributes(rng)
    pose, rest = _sample_rest(rng, posed=0.4)
    motion, camera, moves = _sample_motion(rng)
    while True:
        scene = Scene(subject, colour, place, int(rng.integers(NUM_LAYOUTS)), _inside(_sum(rest, moves)))
        if not _passes_for_held_out(scene.channels):
            break
        motion, camera, moves = _sample_motion(rng)
    text = caption(
        subject,
        colour if rng.random() < 0.85 else "",
        place if rng.random() < 0.8 else "",
        motion if rng.random() < 0.85 else "",
        camera if rng.random() < 0.85 else "",
        pose if rng.random() < 0.8 else "",
    )
    return replace(scene, caption=_with_nonsense(text, rng) if rng.random() < 0.05 else text)


def sample_still(seed: int) -> Scene:
    """A pretraining scene that does not move, for single frames: more often posed, and placed far wider."""
    rng = np.random.default_rng((seed, 1))
    subject, colour, place = _sample_attributes(rng)
    pose, rest = _sample_rest(rng, posed=0.6)
    if rng.random() < 0.5:
        away, azimuth = rng.uniform(-0.75, 0.5), rng.uniform(-35, 35)
        rest |= {
            "x": rng.uniform(-0.38, 0.38),
            "y": rng.uniform(-0.3, 0.3),
            "log_scale": rng.uniform(-0.4, 0.4),
            "yaw": rest["yaw"] - rest["azimuth"] + azimuth,
            "azimuth": azimuth,
            "elevation": rng.uniform(-8, 40),
            "log_distance": away,
            "log_focal": away + rng.uniform(-0.3, 0.3),
            "pan": rng.uniform(-18, 18),
            "tilt": rng.uniform(-10, 10),
        }
    text = caption(
        subject,
        colour if rng.random() < 0.9 else "",
        place if rng.random() < 0.85 else "",
        pose=pose if rng.random() < 0.8 else "",
    )
    return Scene(subject, colour, place, int(rng.integers(NUM_LAYOUTS)), _inside(_sum(rest, {})), text)


def _sample_attributes(rng: np.random.Generator) -> tuple[str, str, str]:
    subject, colour, place = (str(rng.choice(names)) for names in (SUBJECTS, tuple(COLOURS), _PLACES))
    return subject, "" if subject == COLOURLESS else colour, place


def _sample_rest(rng: np.random.Generator, posed: float) -> tuple[str, dict[str, float]]:
    """A pose's word, and where everything is at rest; upright or nearly so, but for a share of `posed`."""
    azimuth = rng.uniform(-20, 20)
    rest = {
        "x": rng.uniform(-0.22, 0.22),
        "y": rng.uniform(-0.12, 0.2),
        "log_scale": rng.uniform(-0.25, 0.3),
        "roll": _slight(rng),
        "yaw": azimuth + _slight(rng),
        "azimuth": azimuth,
        "elevation": rng.uniform(-4, 10),
        "log_distance": rng.uniform(-0.15, 0.15),
        "pan": rng.uniform(-6, 6),
        "tilt": rng.uniform(-3, 3),
        "log_focal": rng.uniform(-0.15, 0.15),
    }
    if rng.random() >= posed:
        return "", rest
    pose = str(rng.choice(list(POSES)))
    control, low, high = POSES[pose]
    rest[control] = rng.uniform(low, high) + (azimuth if control == "yaw" else 0.0)
    return pose, rest


def _slight(rng: np.random.Generator) -> float:
    """Degrees, mostly none, that are too few for a word."""
    return rng.uniform(-25, 25) if rng.random() < 0.3 else 0.0


def _sample_motion(rng: np.random.Generator) -> tuple[str, str, Tracks]:
    """The words for how the subject and the camera move, and how far each control is from rest."""
    motion = str(rng.choice(_by_weight(OBJECT_MOTIONS))) if rng.random() < 0.85 else "stands still"
    camera = str(rng.choice(_by_weight(CAMERA_MOTIONS))) if rng.random() < 0.55 else ""
    moves = OBJECT_MOTIONS[motion](TIME, rng.uniform(0.75, 1.25))
    camera_moves = CAMERA_MOTIONS[camera](TIME, rng.uniform(0.75, 1.25)) if camera else {}
    if rng.random() < 0.2:
        camera, camera_moves = _nonsense(rng), _wander(CAMERA_WANDERING, rng)
    if rng.random() < 0.35:
        motion, moves = _nonsense(rng), _wander(WANDERING, rng)
    return motion, camera, moves | camera_moves


def _by_weight(motions: Mapping[str, object]) -> list[str]:
    return [name for name in motions for _ in range(2 if name.startswith(_TWICE) else 1)]


def _wander(limits: Mapping[str, float], rng: np.random.Generator) -> Tracks:
    """Smooth tracks with at most five turns, on one to three of the controls."""
    moves = {}
    for name in rng.permutation(list(limits))[: int(rng.integers(1, 4))]:
        phase = rng.uniform(0.25, 2.5) * TIME + rng.random()
        wave = triangle(phase) if rng.random() < 0.3 else np.sin(2 * np.pi * phase)
        moves[str(name)] = limits[name] * rng.uniform(0.3, 1.0) * (wave - wave.mean()) / np.ptp(wave)
    return moves


@cache
def _held_out() -> dict[str, Tracks]:
    return {name: Scene("cat", "red", "snow", 0, track(TIME)).channels for name, track in HELD_OUT_MOTIONS.items()}


def _passes_for_held_out(channels: Tracks) -> bool:
    """Whether a scene moves as a held-out motion does.

    What the dolly zoom's background does, every zoom does: it is one only if the subject keeps its size meanwhile.
    """
    alike = {name for name, truth in _held_out().items() if fidelity(channels, truth) > _ALIKE}
    keeps_size = spread("log_scale", channels["log_scale"]) < 0.4 * spread("camera_zoom", channels["camera_zoom"])
    return bool(alike - {"dolly zoom"}) or ("dolly zoom" in alike and keeps_size)


def _sum(rest: Mapping[str, float], moves: Tracks) -> Tracks:
    names = (*SUBJECT_CONTROLS, *CAMERA_CONTROLS)
    return {name: rest[name] + moves.get(name, np.zeros(NUM_FRAMES)) for name in names}


def _inside(controls: Tracks) -> Tracks:
    """Shift a track so that the subject stays well in the frame and of a size that can be seen."""
    larger = controls["log_focal"] - controls["log_distance"]
    for name, limit, more in (("x", 0.38, 0.0), ("y", 0.32, 0.0), ("log_scale", 0.55, larger)):
        seen = controls[name] + more
        controls[name] = controls[name] + max(0.0, -limit - float(np.min(seen))) - max(0.0, float(np.max(seen)) - limit)
    return controls


def _with_nonsense(text: str, rng: np.random.Generator) -> str:
    """The caption with one word replaced or added that means nothing, so that unknown words do no harm."""
    parts = text.split()
    place = int(rng.integers(len(parts) + 1))
    return " ".join([*parts[:place], _nonsense(rng), *parts[place + int(rng.random() < 0.5) :]])


def _nonsense(rng: np.random.Generator) -> str:
    """A word that means nothing."""
    letters = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), int(rng.integers(3, 9))))
    return _nonsense(rng) if letters in HELD_OUT_WORDS else letters
