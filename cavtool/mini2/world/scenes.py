"""A scene: what a clip shows and how it moves; its frames, its ground truth and its caption.

A clip is 16 frames of 64x64 at 8 fps. Ground truth are eight channels (`CHANNELS`), one number a frame: `x`, `y` of the
subject's centre from the frame's, in frame widths, y down; `log_scale` of its size on the screen against `SIZE`; `roll`
and `yaw` in degrees, as the camera sees them; `camera_x`, `camera_y` and `camera_zoom` of the background, as
`Camera.truth` defines them. The camera's operator keeps the subject in the picture: pans and tilts move the background
and not the subject.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cavtool.mini2.world import solids
from cavtool.mini2.world.camera import REST_DISTANCE, REST_ELEVATION, Camera
from cavtool.mini2.world.motions import (
    CAMERA_CONTROLS,
    CAMERA_MOTIONS,
    HELD_OUT_MOTIONS,
    OBJECT_MOTIONS,
    SUBJECT_CONTROLS,
    Track,
    Tracks,
)
from cavtool.mini2.world.places import HELD_OUT_PLACES, PLACES, draw_place, layout_of
from cavtool.mini2.world.subjects import COLOURLESS, COLOURS, SUBJECTS, palette, rest_yaw, toy

SIDE, NUM_FRAMES, FPS = 64, 16, 8
SIZE = 0.5  # the subject's usual size, in frame widths
CHANNELS = ("x", "y", "log_scale", "roll", "yaw", "camera_x", "camera_y", "camera_zoom")
TIME: Track = np.linspace(0.0, 1.0, NUM_FRAMES)
_SUPERSAMPLE = 2

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """What a clip shows and how it moves. Controls left out stay at rest."""

    subject: str
    colour: str  # "" for ironman
    place: str
    layout: int = 0
    controls: Mapping[str, Track] = field(default_factory=dict)
    caption: str = ""

    def _control(self, name: str) -> Track:
        return np.broadcast_to(np.asarray(self.controls.get(name, 0.0), dtype=float), NUM_FRAMES)

    @cached_property
    def cameras(self) -> list[Camera]:
        """The camera of each frame."""
        around, above, away, pan, tilt, focal = (self._control(name) for name in CAMERA_CONTROLS)
        away, above = REST_DISTANCE * np.exp(away), REST_ELEVATION + above
        return [Camera(*map(float, frame)) for frame in zip(around, above, away, pan, tilt, focal, strict=True)]

    @cached_property
    def channels(self) -> Tracks:
        """Ground truth: every channel, one number a frame."""
        own = {name: self._control(name) for name in SUBJECT_CONTROLS}
        larger = np.array([camera.subject_log_scale for camera in self.cameras])
        background = np.array([camera.truth() for camera in self.cameras])
        seen = {"log_scale": own["log_scale"] + larger, "yaw": own["yaw"] - self._control("azimuth")}
        return own | seen | dict(zip(CHANNELS[-3:], background.T, strict=True))


def render(scene: Scene, num_frames: int = NUM_FRAMES) -> Frames:
    """The scene's first `num_frames` frames: (F, H, W, 3) uint8 RGB. The same scene always gives the same bytes."""
    layout = layout_of(scene.place, scene.layout)
    frames, backdrop, before = [], None, None
    for f, camera in enumerate(scene.cameras[:num_frames]):
        if backdrop is None or camera != before:
            backdrop = Image.new("RGB", (SIDE * _SUPERSAMPLE,) * 2)
            draw_place(ImageDraw.Draw(backdrop), layout, camera, backdrop.width)
            before = camera
        frame = backdrop.copy()
        _draw_subject(ImageDraw.Draw(frame), scene, f, frame.width)
        frames.append(np.asarray(frame.reduce(_SUPERSAMPLE)))
    return np.stack(frames)


def _draw_subject(canvas: ImageDraw.ImageDraw, scene: Scene, f: int, side: int) -> None:
    x, y, log_scale, roll, yaw = (float(scene.channels[name][f]) for name in SUBJECT_CONTROLS)
    turn = solids.view(yaw + rest_yaw(scene.subject), scene.cameras[f].toy_elevation, roll)
    centre, scale = ((0.5 + x) * side, (0.5 + y) * side), SIZE * float(np.exp(log_scale)) * side
    solids.draw(canvas, toy(scene.subject), palette(scene.colour), centre, scale, turn)


# Captions

_PREPOSITION = {"night": "at", "ocean": "on the", "moon": "on the"}
# How a subject may stand, by the channel and its range in degrees.
POSES: dict[str, tuple[str, float, float]] = {
    "tilted right": ("roll", 25, 120),
    "upside down": ("roll", 120, 240),
    "tilted left": ("roll", 240, 335),
    "turned right": ("yaw", 25, 120),
    "turned away": ("yaw", 120, 240),
    "turned left": ("yaw", 240, 335),
}
# Words for held-out content: no training caption contains them.
HELD_OUT_WORDS = {
    *HELD_OUT_PLACES,
    *["lantern", "teapot", "duck", "chair", "white", "grey"],
    *" ".join(HELD_OUT_MOTIONS).split(),
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
    """Every word that pretraining's captions use, nonsense aside; cav-mini can name these and no others."""
    places = (where(place) for place in PLACES if place not in HELD_OUT_PLACES)
    parts = [*SUBJECTS, *COLOURS, *OBJECT_MOTIONS, *CAMERA_MOTIONS, *POSES, *places]
    return sorted({*" ".join(parts).split(), "a", "an", "the", "camera", ","})


def reference(motion: str, subject: str, colour: str, place: str, layout: int = 0) -> Scene:
    """A scene of a held-out motion, for use as a reference clip.

    Subject, colour and place may be held out too. Raises KeyError for a motion that is not held out.
    """
    text = caption(subject, colour, place, motion)
    return Scene(subject, colour, place, layout, HELD_OUT_MOTIONS[motion](TIME), text)
