"""Single pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cavtool.video import read_still

GREY, RED, BLACK = (128, 128, 128), (255, 0, 0), (0, 0, 0)


def picture(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (8, 8), colour)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(np.full((8, 8), 128 * 257, np.uint16)), GREY),  # 16 bits, which `convert` clips to white
        (picture("L", 128), GREY),
        (picture("RGB", RED), RED),
        (picture("RGBA", (*RED, 255)), RED),
        (picture("RGBA", (*RED, 0)), BLACK),  # its colour is hidden in every viewer
        (picture("LA", (255, 0)), BLACK),
    ],
)
def test_a_picture_looks_as_in_a_viewer(image: Image.Image, expected: tuple[int, ...], tmp_path: Path) -> None:
    image.save(tmp_path / "picture.png")
    still = read_still(tmp_path / "picture.png", aspect=1.0)
    assert still is not None
    assert (still.shape, {*map(tuple, still.reshape(-1, 3).tolist())}) == ((8, 8, 3), {expected})
