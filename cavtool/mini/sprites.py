"""The looks of cav-mini's world: subjects and places drawn with Pillow, in flat cartoon colours.

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


@lru_cache(maxsize=8192)
def subject_view(subject: str, colour: str, yaw: int) -> Picture:
    """The subject turned by `yaw` whole degrees about its vertical axis: RGBA, the unit square padded on every side.

    It is a cut-out with thickness: turned, its dark edge shows on one side, so the sign of the yaw can be seen; past
    90° its back shows, mirrored.
    """
    pen = _Pen((COLOURS | HELD_OUT_COLOURS)[colour])
    (SUBJECTS | HELD_OUT_SUBJECTS)[subject](pen)
    side = _IRON_RED if subject == "ironman" else pen.main
    edge = Image.new("RGBA", pen.image.size, (*shade(side, 0.4), 0))
    edge.putalpha(pen.image.getchannel("A"))
    cos, sin = np.cos(np.deg2rad(yaw)), np.sin(np.deg2rad(yaw))
    canvas = Image.new("RGBA", (_UNIT + 2 * _PAD, _UNIT + 2 * _PAD))
    depths = np.linspace(-1, 1, 9) * 0.1 * _UNIT * np.sign(cos or 1)
    for depth in depths:  # back to front
        layer = pen.image if depth == depths[-1] else edge
        _paste_narrowed(canvas, layer, float(cos), float(depth * sin))
    return np.asarray(canvas)


def _paste_narrowed(canvas: Image.Image, layer: Image.Image, cos: float, shift: float) -> None:
    width = max(2, round(abs(cos) * _UNIT))
    narrow = layer.resize((width, _UNIT), Image.Resampling.BILINEAR)
    if cos < 0:
        narrow = narrow.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    canvas.alpha_composite(narrow, (round(_PAD + (_UNIT - width) / 2 + shift), _PAD))


# Places: a far layer (opaque) and a near one (ground, landmarks), each 2.5 frames wide and 2 high, 128 pixels a frame.

PANORAMA = (320, 256)
_HORIZON = 150


class _Brush:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.far = Image.new("RGBA", PANORAMA)
        self.near = Image.new("RGBA", PANORAMA)

    def sky(self, top: RGB, bottom: RGB) -> None:
        ramp = np.linspace(0, 1, PANORAMA[1])[:, None, None]
        rows = (np.array(top) * (1 - ramp) + np.array(bottom) * ramp).astype(np.uint8)
        self.far = Image.fromarray(np.broadcast_to(rows, (PANORAMA[1], PANORAMA[0], 3)).copy()).convert("RGBA")

    def ground(self, colour: RGB, top: int = _HORIZON) -> None:
        draw = ImageDraw.Draw(self.near)
        draw.rectangle((0, top, *PANORAMA), fill=colour)
        draw.rectangle((0, top, PANORAMA[0], top + 5), fill=shade(colour, 0.75))

    def spots(self, count: int) -> list[tuple[int, float]]:
        """Landmark places: x in pixels, evenly spread with jitter, and a size factor."""
        step = PANORAMA[0] / count
        return [(int((i + self.rng.uniform(0.15, 0.85)) * step), self.rng.uniform(0.75, 1.25)) for i in range(count)]

    def scatter(self, layer: Image.Image, count: int, radius: float, colour: RGB, *, below: bool) -> None:
        draw = ImageDraw.Draw(layer)
        low, high = (_HORIZON + 12, PANORAMA[1]) if below else (0, _HORIZON - 6)
        for _ in range(count):
            x, y = self.rng.uniform(0, PANORAMA[0]), self.rng.uniform(low, high)
            r = radius * self.rng.uniform(0.7, 1.3)
            draw.ellipse((x - r, y - r * (0.5 if below else 1), x + r, y + r * (0.5 if below else 1)), fill=colour)

    def hills(self, colour: RGB, count: int, height: float) -> None:
        draw = ImageDraw.Draw(self.far)
        for x, size in self.spots(count):
            h, w = height * size, height * 1.6 * size
            draw.polygon([(x - w, _HORIZON + 20), (x, _HORIZON - h), (x + w, _HORIZON + 20)], fill=colour)
        draw.rectangle((0, _HORIZON + 8, *PANORAMA), fill=colour)

    def posts(self, count: int, width: float, height: float, colour: RGB) -> list[tuple[int, int]]:
        """Upright landmarks standing on the ground; returns where their tops are."""
        draw, tops = ImageDraw.Draw(self.near), []
        for x, size in self.spots(count):
            top = int(_HORIZON - height * size)
            draw.rectangle((x - width / 2, top, x + width / 2, _HORIZON + 14), fill=colour)
            tops.append((x, top))
        return tops


def _desert(b: _Brush) -> None:
    b.sky((120, 190, 240), (250, 236, 200))
    b.hills((236, 190, 110), 5, 40)
    b.ground((240, 208, 128))
    draw = ImageDraw.Draw(b.near)
    for x, top in b.posts(6, 12, 44, (60, 130, 60)):
        draw.line([(x, top + 22), (x + 16, top + 22), (x + 16, top + 6)], fill=(60, 130, 60), width=8)


def _snow(b: _Brush) -> None:
    b.sky((150, 176, 206), (226, 234, 244))
    b.hills((188, 204, 226), 4, 66)
    b.ground((244, 248, 255))
    draw = ImageDraw.Draw(b.near)
    for x, top in b.posts(7, 6, 16, (96, 70, 50)):
        draw.polygon([(x - 18, top + 10), (x, top - 34), (x + 18, top + 10)], fill=(70, 120, 120))
        draw.polygon([(x - 8, top - 14), (x, top - 34), (x + 8, top - 14)], fill=(255, 255, 255))


def _forest(b: _Brush) -> None:
    b.sky((150, 210, 180), (200, 232, 190))
    b.hills((60, 120, 70), 9, 46)
    b.ground((70, 110, 50))
    draw = ImageDraw.Draw(b.near)
    for x, top in b.posts(9, 10, 50, (86, 56, 32)):
        draw.ellipse((x - 22, top - 30, x + 22, top + 18), fill=(24, 84, 36))


def _city(b: _Brush) -> None:
    b.sky((170, 190, 210), (226, 226, 222))
    b.hills((150, 156, 170), 6, 60)
    b.ground((96, 96, 104))
    draw = ImageDraw.Draw(b.near)
    for x, top in b.posts(7, 34, 76, (124, 108, 116)):
        for y in range(top + 8, _HORIZON - 6, 18):
            for dx in (-10, 4):
                draw.rectangle((x + dx, y, x + dx + 7, y + 9), fill=(255, 232, 140))
    for x in range(0, PANORAMA[0], 32):
        draw.rectangle((x, _HORIZON + 44, x + 16, _HORIZON + 50), fill=(244, 244, 244))


def _ocean(b: _Brush) -> None:
    b.sky((90, 180, 250), (210, 240, 255))
    b.scatter(b.far, 7, 15, (255, 255, 255), below=False)
    b.ground((20, 100, 190))
    draw = ImageDraw.Draw(b.near)
    for x, size in b.spots(4):
        draw.ellipse((x - 20 * size, _HORIZON - 9, x + 20 * size, _HORIZON + 14), fill=(70, 150, 80))
    for row in range(4):
        for x, _ in b.spots(7):
            y = _HORIZON + 20 + row * 22
            draw.arc((x - 12, y, x + 12, y + 12), 180, 360, fill=(190, 230, 255), width=4)


def _night(b: _Brush) -> None:
    b.sky((8, 10, 40), (40, 34, 90))
    b.scatter(b.far, 46, 2.2, (255, 255, 220), below=False)
    draw = ImageDraw.Draw(b.far)
    x = int(b.rng.uniform(110, 210))
    draw.ellipse((x - 20, 56, x + 20, 96), fill=(250, 246, 200))
    draw.ellipse((x - 8, 50, x + 30, 88), fill=(16, 16, 54))
    b.ground((26, 24, 50))
    for x, top in b.posts(6, 5, 34, (70, 66, 100)):
        ImageDraw.Draw(b.near).ellipse((x - 8, top - 10, x + 8, top + 6), fill=(255, 214, 120))


def _meadow(b: _Brush) -> None:
    b.sky((130, 206, 255), (220, 244, 255))
    b.hills((140, 210, 110), 4, 34)
    b.ground((120, 204, 70))
    b.scatter(b.near, 22, 5, (255, 120, 170), below=True)
    b.scatter(b.near, 18, 5, (255, 246, 110), below=True)
    ImageDraw.Draw(b.near)
    b.posts(9, 4, 12, (230, 220, 200))


def _volcano(b: _Brush) -> None:
    b.sky((90, 20, 30), (240, 110, 50))
    b.hills((66, 30, 36), 4, 84)
    b.ground((56, 40, 44))
    draw = ImageDraw.Draw(b.near)
    for x, size in b.spots(6):
        draw.line([(x, _HORIZON + 4), (x + 18 * size, PANORAMA[1])], fill=(255, 140, 20), width=8)
    b.posts(5, 16, 26, (36, 24, 30))


def _moon(b: _Brush) -> None:
    b.sky((0, 0, 6), (6, 6, 20))
    b.scatter(b.far, 26, 2, (230, 230, 255), below=False)
    draw = ImageDraw.Draw(b.far)
    x = int(b.rng.uniform(110, 210))
    draw.ellipse((x - 22, 50, x + 22, 94), fill=(70, 140, 230))
    b.ground((176, 176, 180))
    b.scatter(b.near, 18, 13, (120, 120, 128), below=True)
    b.posts(5, 22, 18, (140, 140, 146))


def _kitchen(b: _Brush) -> None:
    b.sky((250, 224, 190), (250, 224, 190))
    draw = ImageDraw.Draw(b.far)
    for x in range(0, PANORAMA[0], 26):
        draw.line([(x, 0), (x, PANORAMA[1])], fill=(214, 180, 150), width=3)
    for y in range(0, PANORAMA[1], 26):
        draw.line([(0, y), (PANORAMA[0], y)], fill=(214, 180, 150), width=3)
    b.ground((150, 60, 50))
    for x, top in b.posts(4, 40, 40, (120, 176, 170)):
        ImageDraw.Draw(b.near).ellipse((x + 8, top + 14, x + 15, top + 21), fill=(250, 240, 220))


PLACES: dict[str, Callable[[_Brush], None]] = {
    "desert": _desert,
    "snow": _snow,
    "forest": _forest,
    "city": _city,
    "ocean": _ocean,
    "night": _night,
    "meadow": _meadow,
    "volcano": _volcano,
}
HELD_OUT_PLACES: dict[str, Callable[[_Brush], None]] = {"moon": _moon, "kitchen": _kitchen}


@lru_cache(maxsize=512)
def place_layers(place: str, layout: int) -> tuple[Picture, Picture]:
    """The far (opaque) and near panoramas of a place, RGBA; `layout` seeds where its landmarks stand."""
    brush = _Brush(np.random.default_rng(layout))
    (PLACES | HELD_OUT_PLACES)[place](brush)
    return np.asarray(brush.far), np.asarray(brush.near)
