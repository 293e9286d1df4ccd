"""cav-mini's world: a deterministic renderer of short cartoon clips with exact ground truth per frame.

A clip is 16 frames of 64x64 at 8 fps. Its channels (see `CHANNELS`) are arrays of one number a frame:
`x`, `y` the subject's centre from the frame's, in frame widths, y down; `log_scale` of its size against `SIZE`;
`roll` and `yaw` in degrees; `camera_x`, `camera_y` in frame widths and `camera_zoom` (log) of the background.
The camera follows the subject: pans and tilts move the places behind it, far ones half as much; zooms scale both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cavtool.core.metrics.channels import fidelity
from cavtool.mini.places import HELD_OUT_PLACES, PANORAMA, PLACES, place_layers
from cavtool.mini.sprites import COLOURLESS, COLOURS, HELD_OUT_COLOURS, HELD_OUT_SUBJECTS, SUBJECTS, subject_view

SIDE, NUM_FRAMES, FPS = 64, 16, 8
SIZE = 0.5  # the subject's usual size, in frame widths
CHANNELS = ("x", "y", "log_scale", "roll", "yaw", "camera_x", "camera_y", "camera_zoom")

Track = NDArray[np.float64]
Tracks = dict[str, Track]
Frames = NDArray[np.uint8]

TIME: Track = np.linspace(0.0, 1.0, NUM_FRAMES)
_SUPERSAMPLE = 2
_FAR_PARALLAX = 0.5


@dataclass(frozen=True)
class Scene:
    """What a clip shows and how it moves. Courses left out stay at 0."""

    subject: str
    colour: str
    place: str
    layout: int = 0
    controls: Mapping[str, Track] = field(default_factory=dict)
    caption: str = ""

    @cached_property
    def channels(self) -> Tracks:
        """Ground truth: every channel, one number a frame."""
        return {name: np.asarray(self.controls.get(name, np.zeros(NUM_FRAMES)), dtype=float) for name in CHANNELS}


# Courses over u in [0, 1]: the motions pretraining has words for, how far those it has none for go (`_wander`), then
# the motions it never shows (METHOD, "held out").

OBJECT_MOTIONS: dict[str, Callable[[Track, float], Tracks]] = {
    "stands still": lambda _u, _a: {},
    "moves left": lambda u, a: {"x": a * 0.27 * (1 - 2 * u)},
    "moves right": lambda u, a: {"x": a * 0.27 * (2 * u - 1)},
    "rises": lambda u, a: {"y": a * 0.25 * (1 - 2 * u)},
    "falls": lambda u, a: {"y": a * 0.25 * (2 * u - 1)},
    "bounces": lambda u, a: {"y": a * 0.24 * (0.5 - np.abs(np.sin(2 * np.pi * u)))},
    "grows": lambda u, a: {"log_scale": a * 0.42 * (2 * u - 1)},
    "shrinks": lambda u, a: {"log_scale": a * 0.42 * (1 - 2 * u)},
    "wobbles": lambda u, a: {"roll": a * 30 * np.sin(4 * np.pi * u)},
    "tips left": lambda u, a: {"roll": a * 70 * (1 - 2 * u)},
    "tips right": lambda u, a: {"roll": a * 70 * (2 * u - 1)},
    "turns left": lambda u, a: {"yaw": a * 90 * (1 - 2 * u)},
    "turns right": lambda u, a: {"yaw": a * 90 * (2 * u - 1)},
}
CAMERA_MOTIONS: dict[str, Callable[[Track, float], Tracks]] = {
    "": lambda _u, _a: {},
    "pans left": lambda u, a: {"camera_x": a * 0.25 * (1 - 2 * u)},
    "pans right": lambda u, a: {"camera_x": a * 0.25 * (2 * u - 1)},
    "tilts up": lambda u, a: {"camera_y": a * 0.15 * (1 - 2 * u)},
    "tilts down": lambda u, a: {"camera_y": a * 0.15 * (2 * u - 1)},
    "zooms in": lambda u, a: {"camera_zoom": a * 0.35 * (2 * u - 1) + 0.15, "log_scale": a * 0.35 * (2 * u - 1)},
    "zooms out": lambda u, a: {"camera_zoom": a * 0.35 * (1 - 2 * u) + 0.15, "log_scale": a * 0.35 * (1 - 2 * u)},
}
_WANDERING = {"x": 0.9, "y": 0.6, "log_scale": 0.8, "roll": 120.0, "yaw": 200.0}
_CAMERA_WANDERING = {"camera_x": 0.5, "camera_y": 0.3, "camera_zoom": 0.6}


def _triangle(u: Track) -> Track:
    """Triangle wave of period 1 in [-1, 1], starting at 0 and rising."""
    return np.asarray(2 / np.pi * np.arcsin(np.sin(2 * np.pi * u)))


HELD_OUT_MOTIONS: dict[str, Callable[[Track], Tracks]] = {
    "zigzag": lambda u: {"x": 0.9 * (u - 0.5), "y": 0.22 * _triangle(2 * u)},
    "circle": lambda u: {"x": 0.3 * np.cos(2 * np.pi * u), "y": 0.3 * np.sin(2 * np.pi * u)},
    "swing": lambda u: {"x": 0.28 * np.sin(4 * np.pi * u), "roll": -35 * np.sin(4 * np.pi * u)},
    "spiral": lambda u: {
        "x": (0.05 + 0.3 * u) * np.cos(3 * np.pi * u),
        "y": (0.05 + 0.3 * u) * np.sin(3 * np.pi * u),
    },
    "twirl": lambda u: {"yaw": 360 * u, "x": 0.1 * np.sin(2 * np.pi * u)},
    "dolly zoom": lambda u: {"camera_zoom": 0.7 * u},
    "somersault": lambda u: {"roll": 360 * u, "y": 0.16 - 0.36 * np.sin(np.pi * u)},
    "figure eight": lambda u: {"x": 0.3 * np.sin(2 * np.pi * u), "y": 0.2 * np.sin(4 * np.pi * u)},
}
_TOO_MUCH_ALIKE = 0.6  # fidelity to a held-out motion, of which half a motion alone has 0.5
# Together these hold the subject's size while the background zooms: no pretraining scene has them.
_NEAR_DOLLY_ZOOM = {("shrinks", "zooms in"), ("grows", "zooms out")}
REPORT_MOTIONS = ("twirl", "dolly zoom", "somersault", "figure eight")


def render(scene: Scene, num_frames: int = NUM_FRAMES) -> Frames:
    """The scene's first `num_frames` frames: (F, H, W, 3) uint8 RGB. The same scene always gives the same bytes."""
    channels = scene.channels
    far, near = (Image.fromarray(layer) for layer in place_layers(scene.place, scene.layout))
    frames, backdrop, stands = [], None, _camera_stands(channels)
    for f in range(num_frames):
        if backdrop is None or not stands:
            backdrop = _backdrop(far, near, *(channels[name][f] for name in ("camera_x", "camera_y", "camera_zoom")))
        frame = backdrop.copy()
        _put_subject(frame, scene, *(channels[name][f] for name in ("x", "y", "log_scale", "roll", "yaw")))
        frames.append(np.asarray(frame.convert("RGB").reduce(_SUPERSAMPLE)))
    return np.stack(frames)


def _camera_stands(channels: Tracks) -> bool:
    return all(np.ptp(channels[name]) == 0 for name in ("camera_x", "camera_y", "camera_zoom"))


def _backdrop(far: Image.Image, near: Image.Image, x: float, y: float, zoom: float) -> Image.Image:
    frame = _window(far, x * _FAR_PARALLAX, y * _FAR_PARALLAX, zoom)
    frame.alpha_composite(_window(near, x, y, zoom))
    return frame


def _window(layer: Image.Image, x: float, y: float, zoom: float) -> Image.Image:
    """What the camera sees of a panorama: scaled by exp(zoom) about the panorama's middle, moved by (x, y) frames."""
    side = SIDE * _SUPERSAMPLE
    step = float(np.exp(-zoom))
    left = PANORAMA[0] / 2 + x * side - side / 2 * step
    top = PANORAMA[1] / 2 + y * side - side / 2 * step
    resample = Image.Resampling.BILINEAR
    return layer.transform((side, side), Image.Transform.AFFINE, (step, 0, left, 0, step, top), resample)


def _put_subject(
    frame: Image.Image, scene: Scene, x: float, y: float, log_scale: float, roll: float, yaw: float
) -> None:
    view = Image.fromarray(subject_view(scene.subject, scene.colour, round(yaw) % 360))
    side, middle = SIDE * _SUPERSAMPLE, view.width / 2
    step = 96 / (SIZE * np.exp(log_scale) * side)  # sprite pixels a frame pixel; 96 is the sprite's unit square
    cos, sin = step * np.cos(np.deg2rad(roll)), step * np.sin(np.deg2rad(roll))
    centre_x, centre_y = (0.5 + x) * side, (0.5 + y) * side
    matrix = (
        *(cos, sin, middle - cos * centre_x - sin * centre_y),
        *(-sin, cos, middle + sin * centre_x - cos * centre_y),
    )
    sprite = view.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    frame.alpha_composite(sprite)


# Captions and the scenes of pretraining

_PREPOSITION = {"night": "at", "ocean": "on the", "meadow": "in the", "volcano": "on the", "moon": "on the"}
# How a subject may stand, by the channel and its range in degrees.
POSES: dict[str, tuple[str, float, float]] = {
    "tilted right": ("roll", 25, 120),
    "upside down": ("roll", 120, 240),
    "tilted left": ("roll", 240, 335),
    "turned right": ("yaw", 25, 120),
    "turned away": ("yaw", 120, 240),
    "turned left": ("yaw", 240, 335),
}


def noun(subject: str, colour: str = "", pose: str = "") -> str:
    """`a red cat`, `an orange cat`, `ironman`, `an upside down red cat`."""
    if subject == COLOURLESS:
        return f"{pose} ironman".strip()
    words = " ".join(word for word in (pose, colour, subject) if word)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def where(place: str) -> str:
    """`in the desert`, `on the moon`, `at night`."""
    return f"{_PREPOSITION.get(place, 'in the')} {place}"


def caption(subject: str, colour: str = "", place: str = "", motion: str = "", camera: str = "", pose: str = "") -> str:
    """A caption of any length: `a red cat moves left in the desert, the camera pans left`; empty parts are left out."""
    words = " ".join(part for part in (noun(subject, colour, pose), motion, where(place) if place else "") if part)
    return f"{words}, the camera {camera}" if camera else words


def words() -> list[str]:
    """Every word pretraining's captions use, nonsense aside; cav-mini can name these and no others."""
    parts = [*SUBJECTS, *COLOURS, *OBJECT_MOTIONS, *CAMERA_MOTIONS, *POSES, *(where(place) for place in PLACES)]
    return sorted({*" ".join(parts).split(), "a", "an", "the", "camera", ","})


def reference(motion: str, subject: str, colour: str, place: str, layout: int = 0) -> Scene:
    """A scene of a held-out motion, for use as a reference clip.

    The look may be held out too. Raises KeyError for a motion that is not held out.
    """
    text = caption(subject, colour, place, motion)
    return Scene(subject, colour, place, layout, HELD_OUT_MOTIONS[motion](TIME), text)


def sample_scene(seed: int) -> Scene:
    """A pretraining scene: everything drawn from the seed; caption of random length, sometimes with a word of nonsense.

    A third move on a course of their own, for which the caption has no word or a word of nonsense: a real model has
    seen many more motions than it can name, and learning one is to find it among them.
    Still poses of every roll, yaw, place, size and zoom occur; only the courses in time of the held-out motions do not.
    """
    rng = np.random.default_rng(seed)
    subject, colour, place = (str(rng.choice(list(names))) for names in (SUBJECTS, COLOURS, PLACES))
    says_motion, says_camera = rng.random() < 0.8, rng.random() < 0.6
    motion = str(rng.choice(list(OBJECT_MOTIONS))) if rng.random() < (0.85 if says_motion else 0.3) else "stands still"
    camera = str(rng.choice(list(CAMERA_MOTIONS)[1:])) if rng.random() < (0.7 if says_camera else 0.1) else ""
    camera = "" if (motion, camera) in _NEAR_DOLLY_ZOOM else camera
    pose, rest = _sample_pose(rng, posed=0.5)
    moves, camera_moves = OBJECT_MOTIONS[motion](TIME, rng.uniform(0.75, 1.25)), _camera_course(camera, rng)
    if rng.random() < 0.15 and "log_scale" not in moves:
        camera, camera_moves = _nonsense(rng), _wander(_CAMERA_WANDERING, rng)
        camera_moves |= {"log_scale": camera_moves["camera_zoom"]} if "camera_zoom" in camera_moves else {}
    if rng.random() < 0.35:  # but with its size the camera's, where it zooms
        far = {name: far for name, far in _WANDERING.items() if name not in camera_moves}
        motion, moves = _nonsense(rng), _wander(far, rng)
    courses = _add(_add(rest, moves), camera_moves)
    text = caption(
        subject,
        colour if rng.random() < 0.85 else "",
        place if rng.random() < 0.8 else "",
        motion if says_motion else "",
        camera if says_camera else "",
        pose if rng.random() < 0.8 else "",
    )
    text = _with_nonsense(text, rng) if rng.random() < 0.08 else text
    return Scene(subject, colour, place, int(rng.integers(64)), _inside(courses), text)


def sample_still(seed: int) -> Scene:
    """A pretraining scene that does not move, for single frames.

    Most are posed, for that is learned at a twentieth of a clip's price; half are placed far wider than `sample_scene`.
    """
    rng = np.random.default_rng((seed, 1))
    scene = sample_scene(seed)
    pose, rest = _sample_pose(rng, posed=0.8)
    if rng.random() < 0.5:
        rest |= {
            "x": rng.uniform(-0.4, 0.4),
            "y": rng.uniform(-0.33, 0.33),
            "log_scale": rng.uniform(-0.6, 0.5),
            "camera_x": rng.uniform(-0.3, 0.3),
            "camera_y": rng.uniform(-0.18, 0.18),
            "camera_zoom": rng.uniform(-0.25, 0.75),
        }
    text = caption(
        scene.subject,
        scene.colour if rng.random() < 0.9 else "",
        scene.place if rng.random() < 0.85 else "",
        pose=pose if rng.random() < 0.8 else "",
    )
    return replace(scene, controls=_spread(rest), caption=text)


def draw_clip(seed: int) -> tuple[Frames, str]:
    """A pretraining clip (F, H, W, 3) and its caption."""
    scene = sample_scene(seed)
    return render(scene), scene.caption


def draw_still(seed: int) -> tuple[Frames, str]:
    """One pretraining frame (H, W, 3) of a scene that stands still, and its caption."""
    scene = sample_still(seed)
    return render(scene, 1)[0], scene.caption


def _sample_pose(rng: np.random.Generator, posed: float) -> tuple[str, dict[str, float]]:
    """A pose's word and its still values; upright, without a word, in all but a share of `posed`."""
    rest = {
        "x": rng.uniform(-0.22, 0.22),
        "y": rng.uniform(-0.18, 0.2),
        "log_scale": rng.uniform(-0.3, 0.25),
        "camera_x": rng.uniform(-0.1, 0.1),
        "camera_y": rng.uniform(-0.04, 0.04),
        "camera_zoom": rng.uniform(0.0, 0.3),
    }
    if rng.random() < 1 - posed:
        return "", rest
    pose = str(rng.choice(list(POSES)))
    channel, low, high = POSES[pose]
    return pose, rest | {channel: rng.uniform(low, high)}


def _wander(limits: Mapping[str, float], rng: np.random.Generator) -> Tracks:
    """Smooth courses with at most five turns, on some of the channels; none that passes for a held-out motion."""
    names = rng.permutation(list(limits))[: int(rng.integers(1, 4))]
    moves = {}
    for name in map(str, names):
        turns = rng.uniform(0.25, 2.5) * TIME + rng.random()
        wave = _triangle(turns) if rng.random() < 0.3 else np.sin(2 * np.pi * turns)
        moves[name] = limits[name] * rng.uniform(0.3, 1.0) * (wave - wave.mean()) / np.ptp(wave)
    channels = _add({}, moves)
    return _wander(limits, rng) if any(fidelity(channels, truth) > _TOO_MUCH_ALIKE for truth in _held_out()) else moves


@cache
def _held_out() -> list[Tracks]:
    """Their courses; but for the dolly zoom, which is one only where the subject's size is held against the camera."""
    return [_add({}, course(TIME)) for name, course in HELD_OUT_MOTIONS.items() if name != "dolly zoom"]


def _camera_course(camera: str, rng: np.random.Generator) -> Tracks:
    return CAMERA_MOTIONS[camera](TIME, rng.uniform(0.75, 1.25))


def _spread(rest: Mapping[str, float]) -> Tracks:
    return {name: np.full(NUM_FRAMES, value) for name, value in rest.items()}


def _add(base: Mapping[str, float | Track], more: Tracks) -> Tracks:
    return {name: base.get(name, 0.0) + more.get(name, np.zeros(NUM_FRAMES)) for name in CHANNELS}


def _inside(courses: Tracks) -> Tracks:
    """Shift a course so that the subject's centre stays well in the frame, and the size where it can be seen."""
    limits = {"x": 0.36, "y": 0.3, "log_scale": 0.55}
    for name, limit in limits.items():
        low, high = float(np.min(courses[name])), float(np.max(courses[name]))
        courses[name] = courses[name] + max(0.0, -limit - low) - max(0.0, high - limit)
    return courses


_NEVER = {*HELD_OUT_SUBJECTS, *HELD_OUT_COLOURS, *HELD_OUT_PLACES, *" ".join(HELD_OUT_MOTIONS).split()}


def _with_nonsense(text: str, rng: np.random.Generator) -> str:
    """The caption with one word replaced or added that means nothing, so that unknown words do no harm."""
    words = text.split()
    place = int(rng.integers(len(words) + 1))
    return " ".join([*words[:place], _nonsense(rng), *words[place + int(rng.random() < 0.5) :]])


def _nonsense(rng: np.random.Generator) -> str:
    """A word that means nothing."""
    letters = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), int(rng.integers(3, 9))))
    return _nonsense(rng) if letters in _NEVER else letters
