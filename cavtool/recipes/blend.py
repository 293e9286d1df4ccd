"""A motion, its weight and its window, as in `--motion twirl:0.7@0-0.5`."""

import re
from dataclasses import dataclass

from cavtool.errors import InvalidInput
from cavtool.recipes.common import check, check_weight, read_weight

_NUMBER = r"(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf))"
# `nan` and `inf` are read as numbers so that the error is about the number.
_BLEND = re.compile(r"(?P<name>[^:@]+)(?::(?P<weight>[^@]*))?(?:@(?P<window>.*))?", re.DOTALL)
_WINDOW = re.compile(rf"(?P<start>{_NUMBER})-(?P<end>{_NUMBER})")
_EXAMPLE = "0 is the start of the sampling, pure noise, and 1 its end: `{}@0-0.5`"


@dataclass(frozen=True)
class Blend:
    """A motion, its weight and its window in a generation; in a video's recipe also the content id of its weights.

    `window` is the part of the sampling in which the motion is active, from 0 (pure noise) to 1 (the end); None leaves
    that to the motion. `str` and `parse_blend` are inverse, except for the content id. Raises InvalidInput for a weight
    that is not finite or too large, and for a window that is reversed, empty or outside 0 to 1.
    """

    name: str
    weight: float = 1.0
    content_id: str = ""
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_weight(self.name, self.weight)
        if self.window is not None:
            start, end = self.window
            message = f"the window of `{self.name}` must be from 0 to 1 and end after its start"
            check(0 <= start < end <= 1, message, _EXAMPLE.format(self.name))

    def __str__(self) -> str:
        text = self.name if self.weight == 1.0 else f"{self.name}:{_shortest(self.weight)}"
        return text if self.window is None else f"{text}@{window_text(self.window)}"


def parse_blend(text: str) -> Blend:
    """Read `NAME[:WEIGHT][@A-B]`. Raises InvalidInput."""
    match = _BLEND.fullmatch(text.strip())
    if match is None:
        raise InvalidInput("a motion needs a name", hint="write `--motion twirl` or `--motion twirl:0.7`")
    name, weight, window = match["name"], match["weight"], match["window"]
    weight = 1.0 if weight is None else read_weight(name, weight)
    return Blend(name, weight, window=None if window is None else _parse_window(name, window))


def window_text(window: tuple[float, float]) -> str:
    """A window as `parse_blend` reads it after the `@`: 0-0.5."""
    return "-".join(map(_shortest, window))


def _parse_window(name: str, text: str) -> tuple[float, float]:
    match = _WINDOW.fullmatch(text)
    if match is None:
        message = f"the window of `{name}` must be two numbers with a `-` between them, not `{text}`"
        raise InvalidInput(message, hint=_EXAMPLE.format(name))
    return float(match["start"]), float(match["end"])


def _shortest(value: float) -> str:
    """The shortest text that gives the same number."""
    return text if float(text := f"{value:g}") == value else repr(float(value))
