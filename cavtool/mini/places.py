"""The places of cav-mini's world, drawn with Pillow in flat cartoon colours.

A place is two panoramas, 2.5 frames wide and 2 high at 128 pixels a frame: a far layer (opaque) and a near one (ground,
landmarks). Pictures are RGBA arrays.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from cavtool.mini.sprites import RGB, Picture, shade

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
