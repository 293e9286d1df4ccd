"""Toys made of convex solids, drawn flat-shaded by the painter's algorithm.

Body frame: x to the toy's left, y up, z to its front; a toy is about one unit tall, its centre at the origin. A view
turns it by yaw about the vertical, tilts it towards the viewer by the elevation of the camera, and rolls it in the
picture plane; then x is right, y up and z towards the viewer. Projection is orthographic.

Shapes: S solids, F faces, 4 corners of a face, B balls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

Array = NDArray[np.float64]
Colour = tuple[int, int, int]

MAIN = "main"  # the colour that a caption names
_LIGHT = np.array([-0.45, 0.7, 0.55]) / np.linalg.norm([-0.45, 0.7, 0.55])  # in the view's frame
_AMBIENT, _RIM = 0.62, 0.74  # brightness of an unlit face, and of the rim of a ball
_NUM_SIDES, _NUM_RIM = 10, 20
_CIRCLE_RIM = np.stack([f(np.linspace(0, 2 * np.pi, _NUM_RIM, endpoint=False)) for f in (np.cos, np.sin)])


@dataclass(frozen=True)
class Solid:
    """A unit ball, box [-1, 1]^3 or tube (a disc in x and z, along y), stretched to `half` and moved to `centre`.

    `taper` scales the upper end in x and z; `tilt` are degrees of rotation about x, then z, before it is moved.
    """

    shape: Literal["ball", "box", "tube"]
    colour: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    taper: tuple[float, float] = (1.0, 1.0)
    tilt: tuple[float, float] = (0.0, 0.0)

    def axes(self) -> Array:
        """(3, 3): columns are the stretched, tilted axes."""
        return _about_z(self.tilt[1]) @ _about_x(self.tilt[0]) @ np.diag(self.half)


@dataclass(frozen=True)
class Toy:
    """Solids prepared for drawing: all in the body frame."""

    colours: tuple[str, ...]  # (S,)
    centres: Array  # (S, 3)
    corners: Array  # (F, 4, 3)
    normals: Array  # (F, 3)
    owners: NDArray[np.intp]  # (F,): which solid a face belongs to
    ball_axes: Array  # (B, 3, 3)
    balls: NDArray[np.intp]  # (B,): which solids are balls


def build(solids: Sequence[Solid]) -> Toy:
    """Prepare solids for drawing."""
    faces = [(number, _faces(solid)) for number, solid in enumerate(solids) if solid.shape != "ball"]
    corners = np.concatenate([corners for _, corners in faces])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    flat = np.linalg.norm(normals, axis=1) < 1e-9  # a cone's side: its first edge has no length
    normals[flat] = np.cross(corners[flat, 2] - corners[flat, 1], corners[flat, 3] - corners[flat, 1])
    balls = [number for number, solid in enumerate(solids) if solid.shape == "ball"]
    return Toy(
        colours=tuple(solid.colour for solid in solids),
        centres=np.array([solid.centre for solid in solids]),
        corners=corners,
        normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
        owners=np.concatenate([np.full(len(corners), number) for number, corners in faces]),
        ball_axes=np.array([solids[number].axes() for number in balls]).reshape(-1, 3, 3),
        balls=np.array(balls, dtype=np.intp),
    )


def draw(
    canvas: ImageDraw.ImageDraw,
    toy: Toy,
    palette: Mapping[str, Colour],
    centre: tuple[float, float],
    scale: float,
    turn_33: Array,
) -> None:
    """Draw a toy whose unit is `scale` pixels, its centre at a pixel, seen through the rotation `turn_33` (`view`)."""
    flip = np.array([scale, -scale])
    corners_F42 = (toy.corners @ turn_33.T)[..., :2] * flip + centre
    normals_F3 = toy.normals @ turn_33.T
    light_F = _AMBIENT + (1 - _AMBIENT) * np.clip(normals_F3 @ _LIGHT, 0, 1)
    shown = [np.flatnonzero((toy.owners == number) & (normals_F3[:, 2] > 0)) for number in range(len(toy.colours))]
    centres_S3 = toy.centres @ turn_33.T
    balls = {int(number): axes for number, axes in zip(toy.balls, toy.ball_axes, strict=True)}
    for number in np.argsort(centres_S3[:, 2]):
        colour = palette[toy.colours[number]]
        if number in balls:
            middle = centres_S3[number, :2] * flip + centre
            _draw_ball(canvas, (turn_33 @ balls[number])[:2] * flip[:, None], middle, colour)
        for face in shown[number]:
            canvas.polygon([*corners_F42[face].ravel()], fill=_lit(colour, light_F[face]))


def _draw_ball(canvas: ImageDraw.ImageDraw, axes_23: Array, middle: Array, colour: Colour) -> None:
    """The outline of an ellipsoid, dark, and a smaller one in full colour, moved towards the light."""
    root_22 = np.linalg.cholesky(axes_23 @ axes_23.T + 1e-6 * np.eye(2))
    rim_N2 = (root_22 @ _CIRCLE_RIM).T
    towards_light = root_22 @ np.array([_LIGHT[0], -_LIGHT[1]]) * 0.16
    canvas.polygon([*(rim_N2 + middle).ravel()], fill=_lit(colour, _RIM))
    canvas.polygon([*(0.82 * rim_N2 + towards_light + middle).ravel()], fill=colour)


def view(yaw: float, elevation: float, roll: float) -> Array:
    """(3, 3): the rotation from body to view frame, in degrees; see the module for what each turns."""
    return _about_z(-roll) @ _about_x(elevation) @ _about_y(yaw)


def _lit(colour: Colour, brightness: float) -> Colour:
    red, green, blue = (round(level * brightness) for level in colour)
    return red, green, blue


def _faces(solid: Solid) -> Array:
    """(F, 4, 3): corners of a box's or tube's faces, counter-clockwise from outside; caps are fans of quads."""
    if solid.shape == "box":
        ring = np.array([[-1.0, 1.0], [1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    else:
        angle = -np.linspace(0, 2 * np.pi, _NUM_SIDES, endpoint=False)
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    low = np.stack([ring[:, 0], np.full(len(ring), -1.0), ring[:, 1]], axis=1)
    high = np.stack([ring[:, 0] * solid.taper[0], np.ones(len(ring)), ring[:, 1] * solid.taper[1]], axis=1)
    next_low, next_high = np.roll(low, -1, axis=0), np.roll(high, -1, axis=0)
    sides = np.stack([high, low, next_low, next_high], axis=1)
    corners = np.concatenate([sides, _cap(high), _cap(low)[:, ::-1]])
    corners = corners[_areas(corners) > 1e-9]
    return np.asarray(corners @ solid.axes().T + np.array(solid.centre))


def _cap(ring_N3: Array) -> Array:
    """(N / 2 - 1, 4, 3): a convex ring as quads that share its first corner."""
    pairs = range(1, len(ring_N3) - 2, 2)
    return np.array([[ring_N3[0], ring_N3[i], ring_N3[i + 1], ring_N3[i + 2]] for i in pairs])


def _areas(corners_F43: Array) -> Array:
    across = np.cross(corners_F43[:, 2] - corners_F43[:, 0], corners_F43[:, 3] - corners_F43[:, 1])
    return np.asarray(np.linalg.norm(across, axis=1))


def _about_x(degrees: float) -> Array:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def _about_y(degrees: float) -> Array:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def _about_z(degrees: float) -> Array:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
