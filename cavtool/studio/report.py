"""The picture of an evaluation: tracks over frames of each clip, and the curves of their motions side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cavtool.core.metrics import channels
from cavtool.core.metrics.tracks import Motion
from cavtool.video import Frames

_PAPER, _INK, _FAINT, _RULE = (250, 249, 246), (28, 28, 30), (112, 110, 106), (214, 212, 206)
_OBJECT, _CAMERA, _HALO = (255, 122, 0), (0, 190, 200), (20, 20, 24)
_LINES = (_INK, (214, 64, 48), (42, 104, 200), (46, 140, 80), (150, 80, 180), (190, 130, 20))
_DRAWN = 2  # times the final size, for smooth lines
_MARGIN, _GAP, _LABEL, _CELL, _PLOT = 28, 8, 210, 240, 150
_NUM_CELLS = 6
_TRAIL = 0.3  # of the clip: what a track's line shows of its past
_UNITS = {"x": "right", "y": "down", "log_scale": "log size", "roll": "roll, degrees"}
_EXPLAINED = {
    "object": ("relative to the background,", "in shorter sides of the", "frame, over the clip"),
    "camera": ("in shorter sides of the", "frame, over the clip"),
}


@dataclass(frozen=True)
class Row:
    """A clip in a report: frames (F, H, W, 3), its motion, its curves, and small print under its name."""

    name: str
    small_print: Sequence[str]
    frames: Frames
    motion: Motion
    curves: dict[str, dict[str, list[float]]]


def draw_report(rows: Sequence[Row]) -> Image.Image:
    """The rows under one another, all at one height, then a plot of each channel with a line for each row."""
    width = _MARGIN + _LABEL + max(_strip_width(row) for row in rows) + _MARGIN
    parts = [part for part in ("object", "camera") if any(_moves(row.curves[part]) for row in rows)]
    height = _MARGIN + len(rows) * (_CELL + _GAP) + 46 + len(parts) * (_PLOT + 44) + _MARGIN
    sheet = Image.new("RGB", (width * _DRAWN, height * _DRAWN), _PAPER)
    pen = _Pen(ImageDraw.Draw(sheet))
    for number, row in enumerate(rows):
        _draw_row(sheet, pen, row, _MARGIN + number * (_CELL + _GAP), _LINES[number % len(_LINES)])
    top = _MARGIN + len(rows) * (_CELL + _GAP) + 8
    _draw_key(pen, top, rest=[part for part in ("object", "camera") if part not in parts])
    for number, part in enumerate(parts):
        _draw_plots(pen, rows, part, top + 46 + number * (_PLOT + 44), width)
    return sheet.reduce(_DRAWN)


class _Pen:
    """Draws in the units of the final picture."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self.draw = draw

    def line(self, points: NDArray[np.float64], colour: tuple[int, int, int], width: float = 1.0) -> None:
        scaled = [(float(x) * _DRAWN, float(y) * _DRAWN) for x, y in points]
        self.draw.line(scaled, fill=colour, width=round(width * _DRAWN), joint="curve")

    def dot(self, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        box = [(x - radius) * _DRAWN, (y - radius) * _DRAWN, (x + radius) * _DRAWN, (y + radius) * _DRAWN]
        self.draw.ellipse(box, fill=colour)

    def text(
        self, x: float, y: float, text: str, size: int, ink: tuple[int, int, int] = _INK, anchor: str = "la"
    ) -> None:
        self.draw.text((x * _DRAWN, y * _DRAWN), text, ink, _font(size * _DRAWN), anchor=anchor)


def _draw_row(sheet: Image.Image, pen: _Pen, row: Row, top: int, colour: tuple[int, int, int]) -> None:
    pen.draw.rectangle(
        [_MARGIN * _DRAWN, (top + 4) * _DRAWN, (_MARGIN + 12) * _DRAWN, (top + 16) * _DRAWN], fill=colour
    )
    pen.text(_MARGIN + 20, top, _shortened(row.name, 24), 15)
    for line, text in enumerate(row.small_print):
        pen.text(_MARGIN + 20, top + 26 + 18 * line, text, 13, _FAINT)
    size = (_cell_width(row), _CELL)
    for column, frame in enumerate(np.linspace(0, len(row.frames) - 1, _NUM_CELLS).round().astype(int)):
        left = _MARGIN + _LABEL + column * (size[0] + _GAP)
        picture = Image.fromarray(row.frames[frame]).resize((size[0] * _DRAWN, size[1] * _DRAWN))
        picture = Image.blend(picture, Image.new("RGB", picture.size, _PAPER), 0.15)  # so that the lines stand out
        _draw_tracks(_Pen(ImageDraw.Draw(picture)), row.motion, frame)
        sheet.paste(picture, (left * _DRAWN, top * _DRAWN))


def _draw_tracks(pen: _Pen, motion: Motion, frame: int) -> None:
    """The tracks that move and are followed in a frame, each with its recent past."""
    begin = max(0, frame - round(_TRAIL * motion.tracks.shape[1]))
    scale = _CELL  # positions are in shorter sides, and a cell is not taller than wide
    for chosen, colour in ((motion.moves & ~motion.moves_itself, _CAMERA), (motion.moves_itself, _OBJECT)):
        for track in motion.tracks[chosen & ~np.isnan(motion.tracks[:, frame, 0])]:
            past = track[begin : frame + 1]
            past = past[~np.isnan(past[:, 0])] * scale
            if len(past) > 1:
                pen.line(past, _HALO, 2.6)
                pen.line(past, colour, 1.6)
            x, y = past[-1]
            pen.dot(x, y, 2.6, _HALO)
            pen.dot(x, y, 1.9, colour)


def _draw_key(pen: _Pen, top: int, rest: Sequence[str]) -> None:
    items = ((_OBJECT, "moves relative to the background"), (_CAMERA, "moves with the background"))
    left = float(_MARGIN + _LABEL)
    for colour, text in items:
        pen.line(np.array([(left, top + 9), (left + 22, top + 9)]), colour, 3)
        pen.text(left + 30, top, text, 13, _FAINT)
        left += 60 + _font(13).getlength(text)
    if rest:
        pen.text(left, top, f"at rest in every clip: {', '.join(rest)}", 13, _FAINT)


def _draw_plots(pen: _Pen, rows: Sequence[Row], part: str, top: int, width: int) -> None:
    pen.text(_MARGIN, top, {"object": "What moves", "camera": "Camera"}[part], 15)
    for line, text in enumerate(_EXPLAINED[part]):
        pen.text(_MARGIN, top + 26 + 18 * line, text, 13, _FAINT)
    names = list(_UNITS)
    room = (width - 2 * _MARGIN - _LABEL + _GAP) / len(names)
    for number, name in enumerate(names):
        lines = [np.array(row.curves[part][name]) for row in rows]
        title = "log zoom" if (part, name) == ("camera", "log_scale") else _UNITS[name]
        _draw_plot(pen, lines, title, (_MARGIN + _LABEL + number * room, top, room - 5 * _GAP, _PLOT), name)


def _draw_plot(
    pen: _Pen, lines: Sequence[NDArray[np.float64]], title: str, box: tuple[float, float, float, float], name: str
) -> None:
    left, top, width, height = box
    least = 20.0 if name in channels.ANGLES else 0.1  # so that noise does not look like movement
    low, high = min(float(line.min()) for line in lines), max(float(line.max()) for line in lines)
    middle, half = (low + high) / 2, max(high - low, least) / 2 * 1.08
    pen.text(left, top, title, 13, _FAINT)
    bottom, inner = top + height + 20, height - 4

    def place(line: NDArray[np.float64]) -> NDArray[np.float64]:
        x = left + np.linspace(0, width, len(line))
        return np.stack([x, bottom - (line - middle + half) / (2 * half) * inner], axis=1)

    for value in (middle - half / 1.08, middle + half / 1.08):
        y = float(place(np.array([value]))[0, 1])
        pen.line(np.array([(left, y), (left + width, y)]), _RULE, 0.5)
        text = f"{value:.0f}" if name in channels.ANGLES else f"{value:.2f}"
        pen.text(left + width + 4, y, text, 11, _FAINT, anchor="lm")
    for number, line in enumerate(lines):  # the first is wider, so that it shows beneath the others
        pen.line(place(line), _LINES[number % len(_LINES)], 4.5 if number == 0 else 1.8)


def _moves(curves: dict[str, list[float]]) -> bool:
    return bool(channels.active_channels({name: np.array(values) for name, values in curves.items()}))


def _cell_width(row: Row) -> int:
    _, height, width, _ = row.frames.shape
    return round(_CELL * int(width) / int(height))


def _strip_width(row: Row) -> int:
    return _NUM_CELLS * (_cell_width(row) + _GAP) - _GAP


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
