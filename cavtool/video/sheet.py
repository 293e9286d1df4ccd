"""Contact sheets: pictures with one clip per row."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from cavtool.video.decode import Frames

_PAPER, _INK, _FAINT = (250, 249, 246), (28, 28, 30), (112, 110, 106)
_MARGIN, _GAP, _ROW_GAP = 20, 4, 12
_LABEL_WIDTH = 26  # characters
_LEADING = 1.3  # line height, in font sizes


def draw_sheet(rows: Sequence[tuple[str, Frames]]) -> Image.Image:
    """One clip per row, all its frames; a label's first line is its title, further lines are smaller."""
    cell_height = max(frames_FHWC.shape[1] for _, frames_FHWC in rows)
    cell_width = max(frames_FHWC.shape[2] for _, frames_FHWC in rows)
    columns = max(len(frames_FHWC) for _, frames_FHWC in rows)
    title_size = min(max(cell_height // 8, 13), 24)
    labels = [_lines(label, title_size) for label, _ in rows]
    label_width = max((line.width for lines in labels for line in lines), default=0)
    left = _MARGIN + (label_width + _MARGIN if label_width else 0)
    heights = [max(cell_height, _height(lines)) for lines in labels]

    width = left + columns * (cell_width + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width, sum(heights) + _ROW_GAP * (len(rows) - 1) + 2 * _MARGIN), _PAPER)
    top = _MARGIN
    for lines, height, (_, frames_FHWC) in zip(labels, heights, rows, strict=True):
        _write(lines, ImageDraw.Draw(sheet), top + (height - _height(lines)) / 2)
        for column, frame in enumerate(frames_FHWC):
            sheet.paste(Image.fromarray(frame), (left + column * (cell_width + _GAP), top))
        top += height + _ROW_GAP
    return sheet


@dataclass(frozen=True)
class _Line:
    text: str
    size: int
    ink: tuple[int, int, int]

    @property
    def width(self) -> int:
        return round(_font(self.size).getlength(self.text))


def _lines(label: str, size: int) -> list[_Line]:
    title, *rest = label.splitlines() or [""]
    small = round(size * 0.8)
    return [_Line(text, size, _INK) for text in textwrap.wrap(title, _LABEL_WIDTH)] + [
        _Line(text, small, _FAINT) for line in rest for text in textwrap.wrap(line, _LABEL_WIDTH * size // small)
    ]


def _height(lines: Sequence[_Line]) -> int:
    return round(sum(line.size * _LEADING for line in lines))


def _write(lines: Sequence[_Line], pen: ImageDraw.ImageDraw, top: float) -> None:
    for line in lines:
        pen.text((_MARGIN, top + line.size * (_LEADING - 1) / 2), line.text, line.ink, _font(line.size), anchor="la")
        top += line.size * _LEADING


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
