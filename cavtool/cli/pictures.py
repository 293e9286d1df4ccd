"""Frames of a video side by side in half blocks, two pixels per character, on terminals with colours."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from cavtool.errors import MediaError
from cavtool.video import decode, probe

_LARGEST_FILE = 50_000_000  # bytes; clips of motions have less than one
_LARGEST_FRAME = 4096**2  # pixels
_WIDEST = 8.0  # width by height
WIDTH = 18  # pixels per frame: four frames on a terminal of 80 columns


def draw(label: str, video: Path) -> None:
    """Print `label` and as many frames of `video` as fit side by side, evenly spaced in time.

    Raises MediaError if the video cannot be read.
    """
    console = Console(highlight=False)
    if console.color_system is None or console.no_color:
        return
    if video.stat().st_size > _LARGEST_FILE:
        raise MediaError("the file is too large for a picture")
    media = probe(video)
    if media.width * media.height > _LARGEST_FRAME or not 1 / _WIDEST <= media.width / media.height <= _WIDEST:
        raise MediaError(f"frames of {media.width}x{media.height} are too large for a picture")
    num_frames = max(1, console.width // (WIDTH + 1))
    frames_FHWC = decode(
        video,
        start=0,
        duration=media.duration,
        num_frames=num_frames,
        width=WIDTH,
        height=2 * max(1, round(WIDTH * media.height / media.width / 2)),
    )
    console.print(label, _half_blocks(frames_FHWC), sep="\n", markup=False)


def _half_blocks(frames_FHWC: NDArray[np.uint8]) -> Text:
    """Frames of even height, side by side, with a blank column between them."""
    rows = []
    for y in range(0, frames_FHWC.shape[1], 2):
        row = Text()
        for frame_HWC in frames_FHWC:
            for top, bottom in zip(frame_HWC[y].tolist(), frame_HWC[y + 1].tolist(), strict=True):
                row.append("▀", Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*bottom)))
            row.append(" ")
        rows.append(row)
    return Text("\n").join(rows)
