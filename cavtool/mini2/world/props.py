"""What stands in the places of cav-mini's world and what lies at their far end, as coloured polygons.

A prop is flat and always faces the camera; its polygons (N, 2) are in units, x right and y up from where it stands.
Those of far things are in degrees: right of the resting camera's heading, and above the horizon.
"""

from itertools import pairwise

import numpy as np

from cavtool.mini2.world.camera import Array
from cavtool.mini2.world.solids import Colour

Generator = np.random.Generator
Part = tuple[Colour, Array]  # a polygon


# Outlines


def ellipse(x: float, y: float, half_width: float, half_height: float, corners: int = 14) -> Array:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([x + half_width * np.cos(angle), y + half_height * np.sin(angle)], axis=1)


def rectangle(left: float, bottom: float, right: float, top: float) -> Array:
    return np.array([[left, bottom], [right, bottom], [right, top], [left, top]])


def triangle(left: float, bottom: float, right: float, top: float) -> Array:
    return np.array([[left, bottom], [right, bottom], [(left + right) / 2, top]])


# Props

_BROWN: Colour = (110, 76, 48)
_PANE: Colour = (252, 226, 130)


def pine(rng: Generator, leaves: Colour = (24, 92, 52), tips: Colour = (40, 118, 62)) -> list[Part]:
    tall = rng.uniform(1.7, 2.6)
    return [
        (_BROWN, rectangle(-0.08, 0, 0.08, 0.4)),
        (leaves, triangle(-0.55, 0.3, 0.55, 0.3 + 0.55 * tall)),
        (tips, triangle(-0.42, 0.3 + 0.3 * tall, 0.42, 0.2 + tall)),
    ]


def snowy_pine(rng: Generator) -> list[Part]:
    return pine(rng, (52, 110, 96), (250, 252, 255))


def leafy_tree(rng: Generator) -> list[Part]:
    tall = rng.uniform(1.4, 2.2)
    return [
        (_BROWN, rectangle(-0.12, 0, 0.12, tall - 0.3)),
        ((60, 132, 62), ellipse(0, tall, 0.62, 0.6)),
        ((88, 160, 74), ellipse(-0.15, tall + 0.15, 0.36, 0.32)),
    ]


def stone(rng: Generator, colour: Colour = (126, 122, 120)) -> list[Part]:
    w = rng.uniform(0.35, 0.7)
    return [(colour, w * np.array([[-1, 0], [1, 0], [0.7, 0.5], [0.1, 0.8], [-0.6, 0.5]]))]


def sandstone(rng: Generator) -> list[Part]:
    return stone(rng, (178, 110, 66))


def mushroom(_rng: Generator) -> list[Part]:
    return [
        ((236, 226, 206), rectangle(-0.1, 0, 0.1, 0.4)),
        ((190, 96, 70), ellipse(0, 0.42, 0.36, 0.22)),
        ((250, 240, 230), ellipse(-0.1, 0.46, 0.08, 0.06, 8)),
    ]


def cactus(rng: Generator) -> list[Part]:
    tall, arm = rng.uniform(1.2, 2.0), rng.choice([-1.0, 1.0])
    green: Colour = (64, 130, 70)
    return [
        (green, rectangle(-0.16, 0, 0.16, tall)),
        (green, rectangle(0, 0.45 * tall, arm * 0.5, 0.45 * tall + 0.2)),
        (green, rectangle(arm * 0.34, 0.45 * tall, arm * 0.54, 0.85 * tall)),
    ]


def pyramid(rng: Generator) -> list[Part]:
    w = rng.uniform(0.8, 1.3)
    return [
        ((214, 164, 92), triangle(-w, 0, w, 1.1 * w)),
        ((176, 126, 70), np.array([[0.25 * w, 0], [w, 0], [0, 1.1 * w]])),
    ]


def snowman(_rng: Generator) -> list[Part]:
    return [
        ((226, 236, 246), ellipse(0, 0.35, 0.42, 0.38)),
        ((242, 248, 254), ellipse(0, 0.95, 0.3, 0.28)),
        ((60, 62, 70), rectangle(-0.22, 1.15, 0.22, 1.4)),
        ((240, 140, 50), triangle(-0.05, 0.88, 0.2, 0.96)),
    ]


def igloo(_rng: Generator) -> list[Part]:
    dome = ellipse(0, 0, 0.7, 0.7, 20)
    return [((204, 222, 240), dome[dome[:, 1] > -0.01]), ((70, 90, 120), rectangle(-0.2, 0, 0.2, 0.35))]


def tower(rng: Generator) -> list[Part]:
    tall = rng.uniform(1.8, 3.2)
    colour = [(150, 96, 86), (112, 122, 142), (176, 160, 136)][rng.integers(3)]
    panes = [rectangle(x, y, x + 0.2, y + 0.22) for x in (-0.34, 0.14) for y in np.arange(0.3, tall - 0.3, 0.55)]
    return [(colour, rectangle(-0.5, 0, 0.5, tall)), *((_PANE, pane) for pane in panes)]


def lamp(_rng: Generator) -> list[Part]:
    return [
        ((60, 64, 74), rectangle(-0.05, 0, 0.05, 1.6)),
        ((255, 240, 170), ellipse(0, 1.7, 0.18, 0.18, 10)),
    ]


def house(rng: Generator, wall: Colour = (206, 180, 150)) -> list[Part]:
    tall = rng.uniform(0.8, 1.1)
    return [
        (wall, rectangle(-0.6, 0, 0.6, tall)),
        ((140, 70, 60), triangle(-0.75, tall, 0.75, tall + 0.6)),
        (_BROWN, rectangle(-0.12, 0, 0.12, 0.5)),
        (_PANE, rectangle(0.25, 0.35, 0.48, 0.62)),
    ]


def dark_house(rng: Generator) -> list[Part]:
    return house(rng, (86, 84, 116))


def dark_pine(rng: Generator) -> list[Part]:
    return pine(rng, (20, 46, 62), (28, 60, 76))


def palm(rng: Generator) -> list[Part]:
    tall = rng.uniform(1.3, 1.8)
    leaves = [
        ((58, 150, 76), np.array([[0, tall], [x, tall + y], [0.6 * x, tall + y + 0.22]]))
        for x, y in ((-0.7, -0.1), (0.7, -0.1), (-0.45, 0.3), (0.45, 0.3))
    ]
    return [
        ((236, 208, 140), ellipse(0, 0, 0.7, 0.22)),
        (_BROWN, rectangle(-0.07, 0, 0.07, tall)),
        *leaves,
    ]


def lighthouse(_rng: Generator) -> list[Part]:
    return [
        ((120, 116, 110), ellipse(0, 0, 0.55, 0.2)),
        ((245, 245, 240), np.array([[-0.28, 0], [0.28, 0], [0.18, 1.8], [-0.18, 1.8]])),
        ((214, 60, 56), np.array([[-0.25, 0.5], [0.25, 0.5], [0.22, 0.95], [-0.22, 0.95]])),
        (_PANE, rectangle(-0.14, 1.8, 0.14, 2.05)),
        ((214, 60, 56), triangle(-0.22, 2.05, 0.22, 2.3)),
    ]


def wave(rng: Generator) -> list[Part]:
    w = rng.uniform(0.5, 0.9)
    return [((210, 236, 246), np.array([[-w, 0], [w, 0], [0.5 * w, 0.16], [-0.3 * w, 0.2]]))]


def flag(_rng: Generator) -> list[Part]:
    return [
        ((220, 220, 226), rectangle(-0.03, 0, 0.03, 1.4)),
        ((90, 120, 200), rectangle(0.03, 0.95, 0.7, 1.4)),
    ]


def lander(_rng: Generator) -> list[Part]:
    return [
        ((226, 190, 90), rectangle(-0.5, 0.35, 0.5, 0.8)),
        ((210, 212, 220), rectangle(-0.3, 0.8, 0.3, 1.2)),
        ((120, 122, 130), np.array([[-0.7, 0], [-0.6, 0], [-0.3, 0.4], [-0.4, 0.4]])),
        ((120, 122, 130), np.array([[0.7, 0], [0.6, 0], [0.3, 0.4], [0.4, 0.4]])),
    ]


def cupboard(rng: Generator) -> list[Part]:
    tall = rng.choice([1.0, 2.2])
    return [
        ((178, 128, 84), rectangle(-0.6, 0, 0.6, tall)),
        ((206, 158, 110), rectangle(-0.52, 0.08, -0.04, tall - 0.08)),
        ((206, 158, 110), rectangle(0.04, 0.08, 0.52, tall - 0.08)),
    ]


def fridge(_rng: Generator) -> list[Part]:
    return [
        ((236, 240, 242), rectangle(-0.45, 0, 0.45, 2.1)),
        ((150, 156, 162), rectangle(-0.45, 1.3, 0.45, 1.34)),
        ((150, 156, 162), rectangle(0.28, 0.9, 0.34, 1.25)),
    ]


# Far things, and things in the sky

_AZIMUTHS = np.arange(-100.0, 101.0, 10.0)


def ridge(rng: Generator, colour: Colour, low: float, high: float, step: int = 1) -> list[Part]:
    azimuths = _AZIMUTHS[::step]
    tops = np.stack([azimuths + rng.uniform(-3, 3, len(azimuths)), rng.uniform(low, high, len(azimuths))], axis=1)
    return [(colour, np.array([a, b, [b[0], -1.0], [a[0], -1.0]])) for a, b in pairwise(tops)]


def skyline(rng: Generator) -> list[Part]:
    edges = np.arange(-98.0, 99.0, 7.0)
    return [((138, 150, 176), rectangle(left, -1, left + rng.uniform(4, 7), rng.uniform(4, 15))) for left in edges]


def clouds(rng: Generator, colour: Colour = (252, 253, 255), count: int = 5) -> list[Part]:
    return [
        (colour, ellipse(rng.uniform(-70, 70), rng.uniform(14, 30), rng.uniform(5, 9), rng.uniform(1.6, 2.8)))
        for _ in range(count)
    ]


def sun(rng: Generator, colour: Colour = (255, 236, 150)) -> list[Part]:
    return [(colour, ellipse(rng.uniform(-35, 35), rng.uniform(15, 26), 4.5, 4.5))]


def stars(rng: Generator) -> list[Part]:
    dots = [((240, 240, 255), ellipse(rng.uniform(-75, 75), rng.uniform(5, 34), 0.7, 0.7, 6)) for _ in range(26)]
    return [*dots, ((246, 244, 214), ellipse(rng.uniform(-35, 35), rng.uniform(15, 26), 4.5, 4.5))]


def nothing(_rng: Generator) -> list[Part]:
    return []
