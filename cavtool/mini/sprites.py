"""The subjects of cav-mini's world, drawn with Pillow in flat cartoon colours.

Every subject is asymmetric, left to right and top to bottom, so that roll and yaw show. Pictures are RGBA arrays.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Picture = NDArray[np.uint8]

COLOURS: dict[str, RGB] = {
    "red": (222, 36, 36),
    "blue": (40, 76, 230),
    "green": (40, 170, 60),
    "yellow": (248, 216, 40),
    "orange": (248, 132, 24),
    "purple": (136, 52, 190),
    "pink": (252, 132, 190),
    "cyan": (40, 210, 222),
    "black": (34, 34, 40),
    "brown": (132, 80, 40),
}
HELD_OUT_COLOURS: dict[str, RGB] = {"white": (248, 248, 248), "grey": (138, 138, 144)}

_GOLD: RGB = (244, 190, 40)
_IRON_RED: RGB = (186, 22, 30)
_UNIT = 96  # pixels on a side of a sprite; the subject's size is the side of this square
_PAD = 16  # room around it for the thickness seen when it turns
SPRITE_ROOM = (_UNIT + 2 * _PAD) / _UNIT  # sides of the subject's square in a view of it
_THINNEST = 5  # of a layer seen edge-on, so that they leave no gaps


class _Pen:
    """Draws on the unit square (0..1, y down) with a main colour, its shades, and a dark outline."""

    def __init__(self, colour: RGB) -> None:
        self.image = Image.new("RGBA", (_UNIT, _UNIT))
        self.draw = ImageDraw.Draw(self.image)
        self.main = colour
        self.dark = shade(colour, 0.55)
        self.light = shade(colour, 1.5) if max(colour) > 60 else (120, 120, 130)
        self.line = shade(colour, 0.3) if max(colour) > 60 else (190, 190, 200)

    def poly(self, points: list[tuple[float, float]], fill: RGB | None = None) -> None:
        xy = [(x * _UNIT, y * _UNIT) for x, y in points]
        self.draw.polygon(xy, fill=fill or self.main)
        self.draw.line([*xy, xy[0], xy[1]], fill=self.line, width=4, joint="curve")

    def oval(self, box: tuple[float, float, float, float], fill: RGB | None = None) -> None:
        self.draw.ellipse([v * (_UNIT - 1) for v in box], fill=fill or self.main, outline=self.line, width=4)

    def rect(self, box: tuple[float, float, float, float], fill: RGB | None = None) -> None:
        self.draw.rectangle([v * (_UNIT - 1) for v in box], fill=fill or self.main, outline=self.line, width=4)

    def eye(self, x: float, y: float, radius: float = 0.07) -> None:
        self.oval((x - radius, y - radius, x + radius, y + radius), (255, 255, 255))
        pupil = ((x - radius / 4) * _UNIT, (y - radius / 2) * _UNIT, (x + radius) * _UNIT, (y + radius / 2) * _UNIT)
        self.draw.ellipse(pupil, fill=(10, 10, 16))


def shade(colour: RGB, factor: float) -> RGB:
    """The colour darkened (factor below 1) or lightened (above 1)."""
    if factor <= 1:
        r, g, b = (int(v * factor) for v in colour)
    else:
        r, g, b = (int(255 - (255 - v) / factor) for v in colour)
    return r, g, b


def _box(p: _Pen) -> None:
    p.rect((0.08, 0.3, 0.92, 0.95))
    p.poly([(0.08, 0.3), (0.3, 0.06), (0.98, 0.06), (0.92, 0.3)], p.light)
    p.rect((0.58, 0.3, 0.74, 0.95), p.dark)
    p.rect((0.16, 0.7, 0.4, 0.86), (255, 255, 255))


def _robot(p: _Pen) -> None:
    p.rect((0.2, 0.5, 0.8, 0.86), p.main)
    p.rect((0.14, 0.14, 0.86, 0.5), p.light)
    p.eye(0.46, 0.32)
    p.eye(0.74, 0.32)
    p.rect((0.24, 0.86, 0.4, 0.99), p.dark)
    p.rect((0.6, 0.86, 0.76, 0.99), p.dark)
    p.rect((0.8, 0.52, 0.98, 0.64), p.dark)
    p.draw.line([(0.3 * _UNIT, 0.14 * _UNIT), (0.3 * _UNIT, 0.0)], fill=p.line, width=5)


def _star(p: _Pen) -> None:
    angles = np.deg2rad(np.arange(10) * 36 - 90)
    radii = np.where(np.arange(10) % 2 == 0, 0.5, 0.24)
    p.poly([(0.5 + r * np.cos(a), 0.52 + r * np.sin(a)) for r, a in zip(radii, angles, strict=True)])
    p.eye(0.48, 0.46)
    p.eye(0.68, 0.46)
    p.draw.arc([0.44 * _UNIT, 0.48 * _UNIT, 0.72 * _UNIT, 0.68 * _UNIT], 10, 170, fill=p.line, width=4)


def _cat(p: _Pen) -> None:
    p.draw.arc([-0.02 * _UNIT, 0.2 * _UNIT, 0.3 * _UNIT, 0.8 * _UNIT], 90, 280, fill=p.dark, width=9)
    p.oval((0.1, 0.5, 0.72, 0.92))
    p.rect((0.18, 0.82, 0.3, 0.99))
    p.rect((0.52, 0.82, 0.64, 0.99))
    p.poly([(0.5, 0.3), (0.5, 0.04), (0.68, 0.2)], p.dark)
    p.poly([(0.78, 0.2), (0.94, 0.04), (0.96, 0.3)], p.dark)
    p.oval((0.46, 0.16, 0.98, 0.62))
    p.eye(0.64, 0.36, 0.06)
    p.eye(0.84, 0.36, 0.06)


def _car(p: _Pen) -> None:
    p.poly([(0.22, 0.5), (0.36, 0.2), (0.66, 0.2), (0.8, 0.5)], (190, 230, 250))
    p.poly([(0.02, 0.5), (0.84, 0.5), (0.99, 0.62), (0.99, 0.78), (0.02, 0.78)])
    p.oval((0.12, 0.64, 0.4, 0.92), (30, 30, 34))
    p.oval((0.62, 0.64, 0.9, 0.92), (30, 30, 34))
    p.rect((0.88, 0.56, 0.98, 0.66), (255, 240, 150))


def _fish(p: _Pen) -> None:
    p.poly([(0.32, 0.5), (0.02, 0.2), (0.02, 0.8)], p.dark)
    p.poly([(0.4, 0.3), (0.5, 0.06), (0.74, 0.26)], p.dark)
    p.oval((0.2, 0.22, 0.98, 0.8))
    p.draw.arc([0.4 * _UNIT, 0.3 * _UNIT, 0.7 * _UNIT, 0.72 * _UNIT], -70, 70, fill=p.light, width=6)
    p.eye(0.8, 0.44)


def _tree(p: _Pen) -> None:
    p.rect((0.42, 0.66, 0.56, 0.99), (110, 66, 34))
    p.oval((0.06, 0.26, 0.6, 0.76))
    p.oval((0.24, 0.02, 0.8, 0.54))
    p.oval((0.48, 0.36, 0.96, 0.76), p.light)


def _rocket(p: _Pen) -> None:
    p.poly([(0.38, 0.82), (0.5, 0.99), (0.62, 0.82)], (255, 170, 30))
    p.poly([(0.3, 0.56), (0.06, 0.88), (0.3, 0.84)], p.dark)
    p.poly([(0.7, 0.66), (0.86, 0.88), (0.7, 0.84)], p.dark)
    p.poly([(0.3, 0.84), (0.3, 0.34), (0.5, 0.0), (0.7, 0.34), (0.7, 0.84)])
    p.oval((0.42, 0.3, 0.64, 0.52), (200, 236, 250))
    p.rect((0.3, 0.66, 0.7, 0.74), p.light)


def _bird(p: _Pen) -> None:
    p.poly([(0.2, 0.56), (0.0, 0.36), (0.04, 0.66)], p.dark)
    p.poly([(0.88, 0.3), (0.99, 0.4), (0.86, 0.46)], (250, 180, 40))
    p.oval((0.12, 0.38, 0.76, 0.86))
    p.oval((0.54, 0.12, 0.92, 0.56))
    p.poly([(0.26, 0.52), (0.6, 0.56), (0.22, 0.78)], p.light)
    p.eye(0.76, 0.3, 0.06)
    for x in (0.38, 0.52):
        p.draw.line([(x * _UNIT, 0.84 * _UNIT), (x * _UNIT, 0.99 * _UNIT)], fill=(250, 180, 40), width=6)


def _house(p: _Pen) -> None:
    p.rect((0.68, 0.06, 0.82, 0.4), p.dark)
    p.rect((0.12, 0.44, 0.88, 0.97))
    p.poly([(0.02, 0.46), (0.46, 0.06), (0.98, 0.46)], p.dark)
    p.rect((0.2, 0.62, 0.4, 0.97), (90, 56, 34))
    p.rect((0.54, 0.58, 0.78, 0.78), (250, 240, 160))


def _mug(p: _Pen) -> None:
    p.draw.ellipse([0.6 * _UNIT, 0.36 * _UNIT, 0.98 * _UNIT, 0.8 * _UNIT], outline=p.dark, width=10)
    p.rect((0.1, 0.2, 0.74, 0.95))
    p.oval((0.1, 0.08, 0.74, 0.32), (250, 246, 236))
    p.rect((0.1, 0.56, 0.74, 0.72), p.light)


def _boat(p: _Pen) -> None:
    p.rect((0.44, 0.02, 0.5, 0.66), (110, 66, 34))
    p.poly([(0.52, 0.04), (0.94, 0.56), (0.52, 0.56)], p.light)
    p.poly([(0.4, 0.2), (0.14, 0.56), (0.4, 0.56)], (250, 250, 250))
    p.poly([(0.02, 0.64), (0.99, 0.64), (0.8, 0.94), (0.2, 0.94)])


def _dinosaur(p: _Pen) -> None:
    p.poly([(0.0, 0.9), (0.1, 0.56), (0.4, 0.44), (0.56, 0.6), (0.56, 0.84), (0.2, 0.8)])
    p.poly([(0.42, 0.62), (0.46, 0.12), (0.66, 0.02), (0.98, 0.1), (0.98, 0.28), (0.7, 0.34), (0.68, 0.8)])
    p.rect((0.24, 0.76, 0.38, 0.99), p.dark)
    p.rect((0.5, 0.76, 0.64, 0.99), p.dark)
    p.poly([(0.42, 0.16), (0.28, 0.26), (0.4, 0.34)], p.light)
    p.poly([(0.38, 0.36), (0.24, 0.44), (0.36, 0.52)], p.light)
    p.eye(0.72, 0.15, 0.055)


def _ironman(p: _Pen) -> None:
    p.rect((0.26, 0.66, 0.46, 0.99), _GOLD)
    p.rect((0.54, 0.66, 0.74, 0.99), _IRON_RED)
    p.rect((0.02, 0.38, 0.24, 0.66), _IRON_RED)
    p.poly([(0.76, 0.36), (0.98, 0.16), (0.99, 0.34), (0.78, 0.54)], _GOLD)
    p.rect((0.22, 0.36, 0.78, 0.7), _IRON_RED)
    p.oval((0.4, 0.42, 0.6, 0.62), (190, 250, 255))
    p.oval((0.26, 0.0, 0.76, 0.4), _IRON_RED)
    p.poly([(0.36, 0.12), (0.72, 0.12), (0.66, 0.36), (0.42, 0.36)], _GOLD)
    p.rect((0.42, 0.18, 0.66, 0.24), (190, 250, 255))


def _lantern(p: _Pen) -> None:
    p.draw.arc([0.3 * _UNIT, 0.0, 0.7 * _UNIT, 0.3 * _UNIT], 180, 360, fill=p.line, width=6)
    p.poly([(0.2, 0.3), (0.36, 0.12), (0.64, 0.12), (0.8, 0.3)], p.dark)
    p.rect((0.22, 0.3, 0.78, 0.82))
    p.oval((0.38, 0.4, 0.62, 0.74), (255, 200, 60))
    p.rect((0.66, 0.3, 0.78, 0.82), p.dark)
    p.rect((0.14, 0.82, 0.86, 0.95), p.dark)


def _teapot(p: _Pen) -> None:
    p.draw.ellipse([0.0, 0.36 * _UNIT, 0.34 * _UNIT, 0.76 * _UNIT], outline=p.dark, width=8)
    p.poly([(0.7, 0.62), (0.9, 0.28), (0.99, 0.3), (0.82, 0.78)], p.light)
    p.oval((0.16, 0.3, 0.82, 0.92))
    p.oval((0.32, 0.22, 0.66, 0.4), p.light)
    p.oval((0.43, 0.1, 0.55, 0.24), p.dark)


def _duck(p: _Pen) -> None:
    p.poly([(0.84, 0.3), (0.99, 0.34), (0.84, 0.44)], (250, 140, 30))
    p.poly([(0.04, 0.56), (0.02, 0.4), (0.3, 0.56)])
    p.oval((0.04, 0.46, 0.78, 0.94))
    p.oval((0.46, 0.1, 0.9, 0.56))
    p.oval((0.2, 0.56, 0.54, 0.8), p.dark)
    p.eye(0.74, 0.28, 0.06)


def _chair(p: _Pen) -> None:
    p.rect((0.14, 0.04, 0.3, 0.62))
    p.rect((0.14, 0.52, 0.86, 0.68), p.light)
    p.rect((0.14, 0.68, 0.26, 0.99), p.dark)
    p.rect((0.74, 0.68, 0.86, 0.99), p.dark)


SUBJECTS: dict[str, Callable[[_Pen], None]] = {
    "box": _box,
    "robot": _robot,
    "star": _star,
    "cat": _cat,
    "car": _car,
    "fish": _fish,
    "tree": _tree,
    "rocket": _rocket,
    "bird": _bird,
    "house": _house,
    "mug": _mug,
    "boat": _boat,
    "dinosaur": _dinosaur,
    "ironman": _ironman,
}
HELD_OUT_SUBJECTS: dict[str, Callable[[_Pen], None]] = {
    "lantern": _lantern,
    "teapot": _teapot,
    "duck": _duck,
    "chair": _chair,
}

SUBJECT_NAMES = (*SUBJECTS, *HELD_OUT_SUBJECTS)
COLOUR_NAMES = (*COLOURS, *HELD_OUT_COLOURS)
COLOURLESS = "ironman"  # wears its own


@lru_cache(maxsize=8192)
def subject_view(subject: str, colour: str, yaw: int) -> Picture:
    """The subject turned by `yaw` whole degrees about its vertical axis: RGBA, the unit square padded on every side.

    It is a cut-out with thickness: turned, its dark edge shows on one side, so the sign of the yaw can be seen; past
    90° its back shows, mirrored.
    """
    pen = _Pen(_IRON_RED if subject == COLOURLESS else (COLOURS | HELD_OUT_COLOURS)[colour])
    (SUBJECTS | HELD_OUT_SUBJECTS)[subject](pen)
    edge = Image.new("RGBA", pen.image.size, (*shade(pen.main, 0.4), 0))
    edge.putalpha(pen.image.getchannel("A"))
    cos, sin = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
    canvas = Image.new("RGBA", (_UNIT + 2 * _PAD, _UNIT + 2 * _PAD))
    depths = np.linspace(-1, 1, 9) * 0.1 * _UNIT * np.sign(cos or 1)
    for depth in depths:  # back to front
        layer = pen.image if depth == depths[-1] else edge
        _paste_narrowed(canvas, layer, float(cos), float(depth * sin))
    return np.asarray(canvas)


def _paste_narrowed(canvas: Image.Image, layer: Image.Image, cos: float, shift: float) -> None:
    width = max(_THINNEST, round(abs(cos) * _UNIT))
    narrow = layer.resize((width, _UNIT), Image.Resampling.BILINEAR)
    if cos < 0:
        narrow = narrow.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    canvas.alpha_composite(narrow, (round(_PAD + (_UNIT - width) / 2 + shift), _PAD))
