"""A motion and its weight, as in `--motion twirl:0.7`."""

import math
import re
from dataclasses import dataclass

from cavtool.errors import InvalidInput
from cavtool.recipes.common import check

_BLEND = re.compile(r"(?P<name>[^:].*?)(?::(?P<weight>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))?")


@dataclass(frozen=True)
class Blend:
    """A motion and its weight in a generation; in a video's recipe also the content id of its weights."""

    name: str
    weight: float = 1.0
    content_id: str = ""

    def __post_init__(self) -> None:
        check(math.isfinite(self.weight), f"weight of `{self.name}` must be a finite number")

    def __str__(self) -> str:
        return self.name if self.weight == 1.0 else f"{self.name}:{self.weight:g}"


def parse_blend(text: str) -> Blend:
    """Read `NAME[:WEIGHT]`, split at the last colon only if a number follows. Raises InvalidInput."""
    match = _BLEND.fullmatch(text.strip())
    if match is None:
        raise InvalidInput("a motion needs a name", hint="write `--motion twirl` or `--motion twirl:0.7`")
    return Blend(match["name"], float(match["weight"] or 1.0))
