"""A pinhole camera on a rig around the subject, and what it makes of a place.

World frame: x right, y up, z away from the resting camera, in units of about a toy's height; the ground is y = 0. The
rig looks at the anchor, where the subject is. Image coordinates are from the middle of the frame, in frame widths, y
down. N is a number of points.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ANCHOR = np.array([0.0, 0.85, 2.6])
REST_DISTANCE, REST_ELEVATION = 2.6, 8.0
NEAR = 0.4  # what is nearer is not drawn
_REFERENCE_DEPTH = 6.0  # from the resting camera, straight ahead; see `Camera.truth`
_TOYS_LEAN = 4.0  # degrees more that a toy is seen from above, so that its top shows


@dataclass(frozen=True)
class Camera:
    """Where a camera is and where it looks.

    It is `distance` from the anchor, `azimuth` degrees around it to the resting camera's right and `elevation` degrees
    above it. It looks at the anchor, then turns right by `pan` and up by `tilt` degrees. `log_focal` is the log of the
    focal length in frame widths.
    """

    azimuth: float = 0.0
    elevation: float = REST_ELEVATION
    distance: float = REST_DISTANCE
    pan: float = 0.0
    tilt: float = 0.0
    log_focal: float = 0.0

    @cached_property
    def position(self) -> Array:
        """(3,) in the world."""
        around, above = np.deg2rad(self.azimuth), np.deg2rad(self.elevation)
        back = [np.sin(around) * np.cos(above), np.sin(above), -np.cos(around) * np.cos(above)]
        return np.asarray(ANCHOR + self.distance * np.array(back))

    @cached_property
    def axes(self) -> Array:
        """(3, 3): rows are right, up and forward, in the world."""
        heading = np.deg2rad(self.pan - self.azimuth)
        down = np.deg2rad(self.elevation - self.tilt)
        flat = np.array([np.sin(heading), 0.0, np.cos(heading)])
        right = np.array([np.cos(heading), 0.0, -np.sin(heading)])
        forward = np.cos(down) * flat - np.array([0.0, np.sin(down), 0.0])
        return np.stack([right, np.cross(forward, right), forward])

    @property
    def toy_elevation(self) -> float:
        """Degrees that a toy is seen from above."""
        return self.elevation + _TOYS_LEAN

    @property
    def subject_log_scale(self) -> float:
        """Log of how much larger than at rest it shows what is at the anchor."""
        return self.log_focal - float(np.log(self.distance / REST_DISTANCE))

    def project(self, points_N3: Array) -> tuple[Array, Array]:
        """Points of the world to the image (N, 2), and their depth (N,). Nothing nearer than `NEAR` may be drawn."""
        seen_N3 = (points_N3 - self.position) @ self.axes.T
        return self._onto_image(seen_N3, NEAR), seen_N3[:, 2]

    def project_directions(self, directions_N2: Array) -> tuple[Array, Array]:
        """Points at infinity to the image (N, 2), and how far ahead they are (N,), from 1 to -1.

        Directions are in degrees: right of the resting camera's heading, and above the horizon.
        """
        azimuth, altitude = np.deg2rad(directions_N2).T
        x, z = np.sin(azimuth) * np.cos(altitude), np.cos(azimuth) * np.cos(altitude)
        seen_N3 = np.stack([x, np.sin(altitude), z], axis=1) @ self.axes.T
        return self._onto_image(seen_N3, 0.1), seen_N3[:, 2]

    def _onto_image(self, seen_N3: Array, nearest: float) -> Array:
        flat_N2 = seen_N3[:, :2] * [1, -1] / np.maximum(seen_N3[:, 2:], nearest)
        return np.asarray(np.exp(self.log_focal) * flat_N2)

    def truth(self) -> tuple[float, float, float]:
        """Camera x, y (frame widths, y down) and log zoom: how far and how much the background goes.

        That is what happens to the reference point, 6 units straight ahead of the resting camera: it goes left for a
        growing x, up for a growing y, and its surroundings grow with the zoom.
        """
        (place,), _ = self.project(_REFERENCE[None])
        away = float(np.linalg.norm(_REFERENCE - self.position))
        return float(-place[0]), float(-place[1]), self.log_focal - float(np.log(away / _REFERENCE_DEPTH))


_REFERENCE = Camera().position + _REFERENCE_DEPTH * Camera().axes[2]
