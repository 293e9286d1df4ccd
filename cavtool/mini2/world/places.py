"""The places of cav-mini's world: a sky, things at its far end, a ground with patches, and props that stand on it.

A prop is flat and always faces the camera; its parts are polygons (N, 2) in units, x right and y up from where it
stands. Far things are polygons in degrees: right of the resting camera's heading, and above the horizon.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from cavtool.mini2.world.camera import NEAR, Array, Camera
from cavtool.mini2.world.solids import Colour

Generator = np.random.Generator
Part = tuple[Colour, Array]  # a polygon

NUM_PROPS, NUM_PATCHES = 11, 7
DEPTHS, SPREAD = (3.6, 9.0), 55.0  # of props: units from the resting camera, and degrees to either side
_HAZE_FROM, _HAZE_A_UNIT, _MOST_HAZE = 3.0, 0.05, 0.45  # share of the sky's colour by depth


@dataclass(frozen=True)
class Place:
    """How a place is made; what varies is drawn from a layout's generator."""

    sky: Colour
    low_sky: Colour
    ground: Colour
    patch: Colour
    props: tuple[Callable[[Generator], list[Part]], ...]
    far: Callable[[Generator], list[Part]]
    above: Callable[[Generator], list[Part]]


@dataclass(frozen=True)
class Layout:
    """One arrangement of a place; all outlines of a kind lie one after the other, so that they are projected at once.

    A prop's outlines are offsets to the right and up from where it stands.
    """

    place: Place
    distant: "Outlines"
    patches: "Outlines"
    props: "Outlines"
    stands: Array  # (N, 3): where the prop that a point belongs to stands


@dataclass(frozen=True)
class Outlines:
    """Polygons: colours (P,), their points (N, 2 or 3), and where each but the first begins (P - 1,)."""

    colours: tuple[Colour, ...]
    points: Array
    starts: NDArray[np.intp]

    def split(self, points: Array) -> list[Array]:
        """The points of each polygon, or what was made of them."""
        return np.split(points, self.starts)


def _outlines(parts: Sequence[Part]) -> Outlines:
    if not parts:
        return Outlines((), np.zeros((0, 2)), np.zeros(0, np.intp))
    ends = np.cumsum([len(outline) for _, outline in parts])
    return Outlines(tuple(colour for colour, _ in parts), np.concatenate([o for _, o in parts]), ends[:-1])


# Outlines


def _ellipse(x: float, y: float, half_width: float, half_height: float, corners: int = 14) -> Array:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([x + half_width * np.cos(angle), y + half_height * np.sin(angle)], axis=1)


def _rectangle(left: float, bottom: float, right: float, top: float) -> Array:
    return np.array([[left, bottom], [right, bottom], [right, top], [left, top]])


def _triangle(left: float, bottom: float, right: float, top: float) -> Array:
    return np.array([[left, bottom], [right, bottom], [(left + right) / 2, top]])


# Props

_BROWN: Colour = (110, 76, 48)
_PANE: Colour = (252, 226, 130)


def _pine(rng: Generator, leaves: Colour = (24, 92, 52), tips: Colour = (40, 118, 62)) -> list[Part]:
    tall = rng.uniform(1.7, 2.6)
    return [
        (_BROWN, _rectangle(-0.08, 0, 0.08, 0.4)),
        (leaves, _triangle(-0.55, 0.3, 0.55, 0.3 + 0.55 * tall)),
        (tips, _triangle(-0.42, 0.3 + 0.3 * tall, 0.42, 0.2 + tall)),
    ]


def _snowy_pine(rng: Generator) -> list[Part]:
    return _pine(rng, (52, 110, 96), (250, 252, 255))


def _leafy_tree(rng: Generator) -> list[Part]:
    tall = rng.uniform(1.4, 2.2)
    return [
        (_BROWN, _rectangle(-0.12, 0, 0.12, tall - 0.3)),
        ((60, 132, 62), _ellipse(0, tall, 0.62, 0.6)),
        ((88, 160, 74), _ellipse(-0.15, tall + 0.15, 0.36, 0.32)),
    ]


def _stone(rng: Generator, colour: Colour = (126, 122, 120)) -> list[Part]:
    w = rng.uniform(0.35, 0.7)
    return [(colour, w * np.array([[-1, 0], [1, 0], [0.7, 0.5], [0.1, 0.8], [-0.6, 0.5]]))]


def _sandstone(rng: Generator) -> list[Part]:
    return _stone(rng, (178, 110, 66))


def _mushroom(_rng: Generator) -> list[Part]:
    return [
        ((236, 226, 206), _rectangle(-0.1, 0, 0.1, 0.4)),
        ((190, 96, 70), _ellipse(0, 0.42, 0.36, 0.22)),
        ((250, 240, 230), _ellipse(-0.1, 0.46, 0.08, 0.06, 8)),
    ]


def _cactus(rng: Generator) -> list[Part]:
    tall, arm = rng.uniform(1.2, 2.0), rng.choice([-1.0, 1.0])
    green: Colour = (64, 130, 70)
    return [
        (green, _rectangle(-0.16, 0, 0.16, tall)),
        (green, _rectangle(0, 0.45 * tall, arm * 0.5, 0.45 * tall + 0.2)),
        (green, _rectangle(arm * 0.34, 0.45 * tall, arm * 0.54, 0.85 * tall)),
    ]


def _pyramid(rng: Generator) -> list[Part]:
    w = rng.uniform(0.8, 1.3)
    return [
        ((214, 164, 92), _triangle(-w, 0, w, 1.1 * w)),
        ((176, 126, 70), np.array([[0.25 * w, 0], [w, 0], [0, 1.1 * w]])),
    ]


def _snowman(_rng: Generator) -> list[Part]:
    return [
        ((226, 236, 246), _ellipse(0, 0.35, 0.42, 0.38)),
        ((242, 248, 254), _ellipse(0, 0.95, 0.3, 0.28)),
        ((60, 62, 70), _rectangle(-0.22, 1.15, 0.22, 1.4)),
        ((240, 140, 50), _triangle(-0.05, 0.88, 0.2, 0.96)),
    ]


def _igloo(_rng: Generator) -> list[Part]:
    dome = _ellipse(0, 0, 0.7, 0.7, 20)
    return [((204, 222, 240), dome[dome[:, 1] > -0.01]), ((70, 90, 120), _rectangle(-0.2, 0, 0.2, 0.35))]


def _tower(rng: Generator) -> list[Part]:
    tall = rng.uniform(1.8, 3.2)
    colour = [(150, 96, 86), (112, 122, 142), (176, 160, 136)][rng.integers(3)]
    panes = [_rectangle(x, y, x + 0.2, y + 0.22) for x in (-0.34, 0.14) for y in np.arange(0.3, tall - 0.3, 0.55)]
    return [(colour, _rectangle(-0.5, 0, 0.5, tall)), *((_PANE, pane) for pane in panes)]


def _lamp(_rng: Generator) -> list[Part]:
    return [
        ((60, 64, 74), _rectangle(-0.05, 0, 0.05, 1.6)),
        ((255, 240, 170), _ellipse(0, 1.7, 0.18, 0.18, 10)),
    ]


def _house(rng: Generator, wall: Colour = (206, 180, 150)) -> list[Part]:
    tall = rng.uniform(0.8, 1.1)
    return [
        (wall, _rectangle(-0.6, 0, 0.6, tall)),
        ((140, 70, 60), _triangle(-0.75, tall, 0.75, tall + 0.6)),
        (_BROWN, _rectangle(-0.12, 0, 0.12, 0.5)),
        (_PANE, _rectangle(0.25, 0.35, 0.48, 0.62)),
    ]


def _dark_house(rng: Generator) -> list[Part]:
    return _house(rng, (86, 84, 116))


def _dark_pine(rng: Generator) -> list[Part]:
    return _pine(rng, (20, 46, 62), (28, 60, 76))


def _palm(rng: Generator) -> list[Part]:
    tall = rng.uniform(1.3, 1.8)
    leaves = [
        ((58, 150, 76), np.array([[0, tall], [x, tall + y], [0.6 * x, tall + y + 0.22]]))
        for x, y in ((-0.7, -0.1), (0.7, -0.1), (-0.45, 0.3), (0.45, 0.3))
    ]
    return [
        ((236, 208, 140), _ellipse(0, 0, 0.7, 0.22)),
        (_BROWN, _rectangle(-0.07, 0, 0.07, tall)),
        *leaves,
    ]


def _lighthouse(_rng: Generator) -> list[Part]:
    return [
        ((120, 116, 110), _ellipse(0, 0, 0.55, 0.2)),
        ((245, 245, 240), np.array([[-0.28, 0], [0.28, 0], [0.18, 1.8], [-0.18, 1.8]])),
        ((214, 60, 56), np.array([[-0.25, 0.5], [0.25, 0.5], [0.22, 0.95], [-0.22, 0.95]])),
        (_PANE, _rectangle(-0.14, 1.8, 0.14, 2.05)),
        ((214, 60, 56), _triangle(-0.22, 2.05, 0.22, 2.3)),
    ]


def _wave(rng: Generator) -> list[Part]:
    w = rng.uniform(0.5, 0.9)
    return [((210, 236, 246), np.array([[-w, 0], [w, 0], [0.5 * w, 0.16], [-0.3 * w, 0.2]]))]


def _flag(_rng: Generator) -> list[Part]:
    return [
        ((220, 220, 226), _rectangle(-0.03, 0, 0.03, 1.4)),
        ((90, 120, 200), _rectangle(0.03, 0.95, 0.7, 1.4)),
    ]


def _lander(_rng: Generator) -> list[Part]:
    return [
        ((226, 190, 90), _rectangle(-0.5, 0.35, 0.5, 0.8)),
        ((210, 212, 220), _rectangle(-0.3, 0.8, 0.3, 1.2)),
        ((120, 122, 130), np.array([[-0.7, 0], [-0.6, 0], [-0.3, 0.4], [-0.4, 0.4]])),
        ((120, 122, 130), np.array([[0.7, 0], [0.6, 0], [0.3, 0.4], [0.4, 0.4]])),
    ]


def _cupboard(rng: Generator) -> list[Part]:
    tall = rng.choice([1.0, 2.2])
    return [
        ((178, 128, 84), _rectangle(-0.6, 0, 0.6, tall)),
        ((206, 158, 110), _rectangle(-0.52, 0.08, -0.04, tall - 0.08)),
        ((206, 158, 110), _rectangle(0.04, 0.08, 0.52, tall - 0.08)),
    ]


def _fridge(_rng: Generator) -> list[Part]:
    return [
        ((236, 240, 242), _rectangle(-0.45, 0, 0.45, 2.1)),
        ((150, 156, 162), _rectangle(-0.45, 1.3, 0.45, 1.34)),
        ((150, 156, 162), _rectangle(0.28, 0.9, 0.34, 1.25)),
    ]


# Far things, and things in the sky

_AZIMUTHS = np.arange(-100.0, 101.0, 10.0)


def _ridge(rng: Generator, colour: Colour, low: float, high: float, step: int = 1) -> list[Part]:
    azimuths = _AZIMUTHS[::step]
    tops = np.stack([azimuths + rng.uniform(-3, 3, len(azimuths)), rng.uniform(low, high, len(azimuths))], axis=1)
    return [(colour, np.array([a, b, [b[0], -1.0], [a[0], -1.0]])) for a, b in pairwise(tops)]


def _skyline(rng: Generator) -> list[Part]:
    edges = np.arange(-98.0, 99.0, 7.0)
    return [((138, 150, 176), _rectangle(left, -1, left + rng.uniform(4, 7), rng.uniform(4, 15))) for left in edges]


def _clouds(rng: Generator, colour: Colour = (252, 253, 255), count: int = 5) -> list[Part]:
    return [
        (colour, _ellipse(rng.uniform(-70, 70), rng.uniform(14, 30), rng.uniform(5, 9), rng.uniform(1.6, 2.8)))
        for _ in range(count)
    ]


def _sun(rng: Generator, colour: Colour = (255, 236, 150)) -> list[Part]:
    return [(colour, _ellipse(rng.uniform(-35, 35), rng.uniform(15, 26), 4.5, 4.5))]


def _stars(rng: Generator) -> list[Part]:
    dots = [((240, 240, 255), _ellipse(rng.uniform(-75, 75), rng.uniform(5, 34), 0.7, 0.7, 6)) for _ in range(26)]
    return [*dots, ((246, 244, 214), _ellipse(rng.uniform(-35, 35), rng.uniform(15, 26), 4.5, 4.5))]


def _nothing(_rng: Generator) -> list[Part]:
    return []


PLACES: dict[str, Place] = {
    "forest": Place(
        (150, 206, 226),
        (198, 228, 226),
        (88, 138, 66),
        (72, 118, 56),
        (_pine, _leafy_tree, _pine, _mushroom),
        lambda rng: _ridge(rng, (70, 124, 92), 6, 11),
        _nothing,
    ),
    "desert": Place(
        (248, 206, 130),
        (252, 226, 172),
        (226, 178, 106),
        (208, 156, 84),
        (_cactus, _sandstone, _pyramid),
        lambda rng: _ridge(rng, (204, 146, 92), 2, 8, 2),
        _sun,
    ),
    "snow": Place(
        (176, 206, 236),
        (214, 230, 246),
        (240, 246, 252),
        (214, 228, 242),
        (_snowy_pine, _snowman, _igloo),
        lambda rng: _ridge(rng, (150, 176, 208), 3, 15),
        _nothing,
    ),
    "city": Place(
        (126, 176, 224),
        (192, 212, 230),
        (132, 134, 142),
        (166, 168, 174),
        (_tower, _tower, _lamp, _house),
        _skyline,
        _clouds,
    ),
    "ocean": Place(
        (132, 200, 244),
        (206, 234, 248),
        (32, 112, 170),
        (58, 146, 196),
        (_palm, _lighthouse, _wave, _wave),
        _nothing,
        _clouds,
    ),
    "night": Place(
        (18, 20, 58),
        (44, 42, 92),
        (36, 44, 62),
        (48, 58, 80),
        (_dark_house, _lamp, _dark_pine),
        lambda rng: _ridge(rng, (28, 30, 66), 3, 9),
        _stars,
    ),
    "moon": Place(
        (8, 8, 16),
        (16, 16, 28),
        (150, 150, 156),
        (122, 122, 130),
        (_stone, _flag, _lander),
        lambda rng: _ridge(rng, (110, 110, 118), 1, 5, 2),
        _stars,
    ),
    "kitchen": Place(
        (244, 232, 206),
        (236, 220, 190),
        (196, 150, 120),
        (214, 176, 148),
        (_cupboard, _fridge, _cupboard),
        _nothing,
        _nothing,
    ),
}
HELD_OUT_PLACES = ("moon", "kitchen")


@cache
def layout_of(place: str, layout: int) -> Layout:
    """A numbered arrangement of a place. Raises KeyError for a place that does not exist."""
    made = PLACES[place]
    rng = np.random.default_rng((layout, *place.encode()))
    props = [(_somewhere(rng, i), made.props[rng.integers(len(made.props))](rng)) for i in range(NUM_PROPS)]
    return Layout(
        place=made,
        distant=_outlines([*made.far(rng), *made.above(rng)]),
        patches=_outlines([(made.patch, _patch(rng)) for _ in range(NUM_PATCHES)]),
        props=_outlines([part for _, parts in props for part in parts]),
        stands=np.concatenate([np.tile(at, (len(outline), 1)) for at, parts in props for _, outline in parts]),
    )


def _somewhere(rng: Generator, number: int) -> Array:
    """Random position of a prop; each prop has its own sector, so every view contains some."""
    sector = 2 * SPREAD / NUM_PROPS
    angle = np.deg2rad(-SPREAD + sector * (number + rng.uniform(0.1, 0.9)))
    depth = rng.uniform(*DEPTHS)
    return np.array([depth * np.tan(angle) if abs(angle) < 0.8 else depth * np.sin(angle), 0.0, depth])


def _patch(rng: Generator) -> Array:
    x, z = rng.uniform(-4.0, 4.0), rng.uniform(1.6, 8.0)
    flat = _ellipse(x, z, rng.uniform(0.5, 1.3), rng.uniform(0.25, 0.6), 12)
    return np.stack([flat[:, 0], np.zeros(len(flat)), flat[:, 1]], axis=1)


def draw_place(canvas: ImageDraw.ImageDraw, layout: Layout, camera: Camera, side: int) -> None:
    """Draw all of a place that a camera sees onto a square canvas of `side` pixels."""
    place = layout.place
    canvas.rectangle((0, 0, side, side), fill=place.sky)
    canvas.rectangle((0, (_band(camera, 12) + 0.5) * side, side, 4 * side), fill=place.low_sky)
    _fill(canvas, layout.distant, layout.distant.colours, *camera.project_directions(layout.distant.points), 0.15, side)
    canvas.rectangle((0, (_band(camera, 0) + 0.5) * side, side, 4 * side), fill=place.ground)
    _fill(canvas, layout.patches, layout.patches.colours, *camera.project(layout.patches.points), NEAR, side)
    offsets_N2 = layout.props.points
    points_N3 = layout.stands + offsets_N2[:, :1] * camera.axes[0] + offsets_N2[:, 1:] * np.array([0.0, 1.0, 0.0])
    far_N = (layout.stands - camera.position) @ camera.axes[2]
    far = [float(depth[0]) for depth in layout.props.split(far_N)]
    hazy = [_hazy(colour, place.low_sky, depth) for colour, depth in zip(layout.props.colours, far, strict=True)]
    order = np.argsort([-depth for depth in far], kind="stable")  # the parts of a prop stay in their order
    _fill(canvas, layout.props, hazy, *camera.project(points_N3), NEAR, side, order)


def _fill(
    canvas: ImageDraw.ImageDraw,
    outlines: Outlines,
    colours: Sequence[Colour],
    points_N2: Array,
    depth_N: Array,
    nearest: float,
    side: int,
    order: Iterable[int] | None = None,
) -> None:
    """Fill polygons that are in front of the camera."""
    if not colours:
        return
    pixels = outlines.split((points_N2 + 0.5) * side)
    nearest_P = np.minimum.reduceat(depth_N, [0, *outlines.starts])
    for number in range(len(colours)) if order is None else order:
        if nearest_P[number] > nearest:
            canvas.polygon(pixels[number].ravel().tolist(), fill=colours[number])


def _band(camera: Camera, altitude: float) -> float:
    """Where a line at an altitude, straight ahead, is in the image; the horizon is at 0."""
    heading = np.rad2deg(np.arctan2(camera.axes[2, 0], camera.axes[2, 2]))
    return float(camera.project_directions(np.array([[heading, altitude]]))[0][0, 1])


def _hazy(colour: Colour, sky: Colour, depth: float) -> Colour:
    share = min(_MOST_HAZE, max(0.0, (depth - _HAZE_FROM) * _HAZE_A_UNIT))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, sky, strict=True))
    return red, green, blue
