"""The places of cav-mini's world: a sky, things at its far end, a ground with patches, and props that stand on it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from cavtool.mini2.world import props
from cavtool.mini2.world.camera import NEAR, Array, Camera
from cavtool.mini2.world.props import Generator, Part
from cavtool.mini2.world.solids import Colour

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


PLACES: dict[str, Place] = {
    "forest": Place(
        (150, 206, 226),
        (198, 228, 226),
        (88, 138, 66),
        (72, 118, 56),
        (props.pine, props.leafy_tree, props.pine, props.mushroom),
        lambda rng: props.ridge(rng, (70, 124, 92), 6, 11),
        props.nothing,
    ),
    "desert": Place(
        (248, 206, 130),
        (252, 226, 172),
        (226, 178, 106),
        (208, 156, 84),
        (props.cactus, props.sandstone, props.pyramid),
        lambda rng: props.ridge(rng, (204, 146, 92), 2, 8, 2),
        props.sun,
    ),
    "snow": Place(
        (176, 206, 236),
        (214, 230, 246),
        (240, 246, 252),
        (214, 228, 242),
        (props.snowy_pine, props.snowman, props.igloo),
        lambda rng: props.ridge(rng, (150, 176, 208), 3, 15),
        props.nothing,
    ),
    "city": Place(
        (126, 176, 224),
        (192, 212, 230),
        (132, 134, 142),
        (166, 168, 174),
        (props.tower, props.tower, props.lamp, props.house),
        props.skyline,
        props.clouds,
    ),
    "ocean": Place(
        (132, 200, 244),
        (206, 234, 248),
        (32, 112, 170),
        (58, 146, 196),
        (props.palm, props.lighthouse, props.wave, props.wave),
        props.nothing,
        props.clouds,
    ),
    "night": Place(
        (18, 20, 58),
        (44, 42, 92),
        (36, 44, 62),
        (48, 58, 80),
        (props.dark_house, props.lamp, props.dark_pine),
        lambda rng: props.ridge(rng, (28, 30, 66), 3, 9),
        props.stars,
    ),
    "moon": Place(
        (8, 8, 16),
        (16, 16, 28),
        (150, 150, 156),
        (122, 122, 130),
        (props.stone, props.flag, props.lander),
        lambda rng: props.ridge(rng, (110, 110, 118), 1, 5, 2),
        props.stars,
    ),
    "kitchen": Place(
        (244, 232, 206),
        (236, 220, 190),
        (196, 150, 120),
        (214, 176, 148),
        (props.cupboard, props.fridge, props.cupboard),
        props.nothing,
        props.nothing,
    ),
}
HELD_OUT_PLACES = ("moon", "kitchen")


@cache
def layout_of(place: str, layout: int) -> Layout:
    """A numbered arrangement of a place. Raises KeyError for a place that does not exist."""
    made = PLACES[place]
    rng = np.random.default_rng((layout, *place.encode()))
    standing = [(_somewhere(rng, i), made.props[rng.integers(len(made.props))](rng)) for i in range(NUM_PROPS)]
    return Layout(
        place=made,
        distant=_outlines([*made.far(rng), *made.above(rng)]),
        patches=_outlines([(made.patch, _patch(rng)) for _ in range(NUM_PATCHES)]),
        props=_outlines([part for _, parts in standing for part in parts]),
        stands=np.concatenate([np.tile(at, (len(outline), 1)) for at, parts in standing for _, outline in parts]),
    )


def _somewhere(rng: Generator, number: int) -> Array:
    """Random position of a prop; each prop has its own sector, so every view contains some."""
    sector = 2 * SPREAD / NUM_PROPS
    angle = np.deg2rad(-SPREAD + sector * (number + rng.uniform(0.1, 0.9)))
    depth = rng.uniform(*DEPTHS)
    return np.array([depth * np.tan(angle) if abs(angle) < 0.8 else depth * np.sin(angle), 0.0, depth])


def _patch(rng: Generator) -> Array:
    x, z = rng.uniform(-4.0, 4.0), rng.uniform(1.6, 8.0)
    flat = props.ellipse(x, z, rng.uniform(0.5, 1.3), rng.uniform(0.25, 0.6), 12)
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
