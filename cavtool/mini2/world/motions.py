"""How things move: tracks over u in [0, 1], of the controls of a scene.

Controls of the subject: `x`, `y` of its centre on the screen (frame widths from the middle, y down), `log_scale`
against its usual size, `roll` (degrees, clockwise) and `yaw` (degrees, its front to the viewer's right). Controls of
the camera (`camera.py`): `azimuth`, `elevation`, `pan`, `tilt` in degrees, `log_distance` and `log_focal`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Track = NDArray[np.float64]
Tracks = dict[str, Track]

SUBJECT_CONTROLS = ("x", "y", "log_scale", "roll", "yaw")
CAMERA_CONTROLS = ("azimuth", "elevation", "log_distance", "pan", "tilt", "log_focal")

# Motions that pretraining's captions have words for, by track over u and amplitude a.
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
    "pans left": lambda u, a: {"pan": a * 14 * (1 - 2 * u)},
    "pans right": lambda u, a: {"pan": a * 14 * (2 * u - 1)},
    "tilts up": lambda u, a: {"tilt": a * 8.5 * (2 * u - 1)},
    "tilts down": lambda u, a: {"tilt": a * 8.5 * (1 - 2 * u)},
    "zooms in": lambda u, a: {"log_focal": a * 0.35 * (2 * u - 1)},
    "zooms out": lambda u, a: {"log_focal": a * 0.35 * (1 - 2 * u)},
    "dollies in": lambda u, a: {"log_distance": a * 0.42 * (1 - 2 * u)},
    "dollies out": lambda u, a: {"log_distance": a * 0.42 * (2 * u - 1)},
}
# Largest range, highest minus lowest value, of the random tracks that captions do not name.
WANDERING = {"x": 0.9, "y": 0.6, "log_scale": 0.8, "roll": 120.0, "yaw": 200.0}
CAMERA_WANDERING = {
    "azimuth": 50.0,
    "elevation": 30.0,
    "log_distance": 0.8,
    "pan": 28.0,
    "tilt": 17.0,
    "log_focal": 0.7,
}


def triangle(u: Track) -> Track:
    """Triangle wave of period 1 in [-1, 1], starting at 0 and rising."""
    return np.asarray(2 / np.pi * np.arcsin(np.sin(2 * np.pi * u)))


# Motions that pretraining never shows: to tune on, and to report.
TUNE_MOTIONS: dict[str, Callable[[Track], Tracks]] = {
    "zigzag": lambda u: {"x": 0.9 * (u - 0.5), "y": 0.22 * triangle(2 * u)},
    "circle": lambda u: {"x": 0.3 * np.cos(2 * np.pi * u), "y": 0.3 * np.sin(2 * np.pi * u)},
    "swing": lambda u: {"x": 0.28 * np.sin(4 * np.pi * u), "roll": -35 * np.sin(4 * np.pi * u)},
    "spiral": lambda u: {
        "x": (0.05 + 0.3 * u) * np.cos(3 * np.pi * u),
        "y": (0.05 + 0.3 * u) * np.sin(3 * np.pi * u),
    },
}
REPORT_MOTIONS: dict[str, Callable[[Track], Tracks]] = {
    "twirl": lambda u: {"yaw": 360 * u, "x": 0.1 * np.sin(2 * np.pi * u)},
    "dolly zoom": lambda u: {"log_distance": 1.18 * u - 0.73, "log_focal": 1.18 * u - 0.73},
    "somersault": lambda u: {"roll": 360 * u, "y": 0.16 - 0.36 * np.sin(np.pi * u)},
    "figure eight": lambda u: {"x": 0.3 * np.sin(2 * np.pi * u), "y": 0.2 * np.sin(4 * np.pi * u)},
    "orbit": lambda u: {"azimuth": 54 * (u - 0.5)},
    "fly-over": lambda u: {"elevation": 36 * u - 4, "log_distance": 0.3 - 0.5 * u},
}
HELD_OUT_MOTIONS = TUNE_MOTIONS | REPORT_MOTIONS
