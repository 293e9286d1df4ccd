"""A reference that the renderer did not make: a photographed cup of coffee slides over gravel.

16:9 at 30 fps, with a hand-held camera, motion blur, vignette and grain, made of photos that scikit-image ships.
`python -m tests.benchmarks.filmed FILE` writes it.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from cavtool import video
from cavtool.mini import world

MOTION = "figure eight"
PROMPT, APPEARANCE = "a cup of coffee slides over gravel", "a cup of coffee on gravel"
_WIDTH, _HEIGHT, _FPS, _SECONDS = 1280, 720, 30, 2.0
_SHUTTER = 4  # exposures per frame, over half of its time
_GRAIN = 7.0  # of 255


def scene() -> world.Scene:
    """The cup's track, in widths of the centre crop, and the prompt; a scene that the renderer cannot draw."""
    shown_F = np.floor(np.arange(world.NUM_FRAMES) * _FPS / world.FPS)  # the frame of the video in each of the model's
    tracks = world.HELD_OUT_MOTIONS[MOTION](shown_F / (round(_FPS * _SECONDS) - 1))
    return world.Scene("", "", "", controls=tracks, caption=PROMPT)


def film(path: Path) -> None:
    """Write the clip."""
    rng = np.random.default_rng(5)
    cup, ground = _cup(), _ground()
    num_frames = round(_FPS * _SECONDS)
    shake_F2 = (
        3 * np.cumsum(rng.normal(size=(num_frames + 1, 2)), axis=0) / np.sqrt(np.arange(1, num_frames + 2))[:, None]
    )
    frames = np.stack([_frame(cup, ground, f / (num_frames - 1), shake_F2[f], rng) for f in range(num_frames)])
    video.encode(frames, path, fps=_FPS)


def _frame(
    cup: Image.Image, ground: Image.Image, u: float, shake: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    exposures = [_exposure(cup, ground, u + 0.5 * i / _SHUTTER / (_FPS * _SECONDS), shake) for i in range(_SHUTTER)]
    light = np.mean(exposures, axis=0) * _vignette() + rng.normal(0, _GRAIN, (_HEIGHT, _WIDTH, 1))
    return np.asarray(light.clip(0, 255).astype(np.uint8))


def _exposure(cup: Image.Image, ground: Image.Image, u: float, shake: NDArray[np.float64]) -> NDArray[np.float64]:
    track = world.HELD_OUT_MOTIONS[MOTION](np.array([u]))
    right, down = (round(float(value)) for value in shake)
    picture = ground.crop((40 + right, 40 + down, 40 + right + _WIDTH, 40 + down + _HEIGHT))
    x = _WIDTH / 2 + _HEIGHT * float(track["x"][0]) - right
    y = _HEIGHT / 2 + _HEIGHT * float(track["y"][0]) - down
    picture.paste(cup, (round(x - cup.width / 2), round(y - cup.height / 2)), cup)
    return np.asarray(picture, dtype=float)


def _cup() -> Image.Image:
    """The cup and its saucer, cut out of the photo."""
    from skimage import data

    photo = Image.fromarray(data.coffee())
    mask = Image.new("L", photo.size)
    for ellipse in ((76, 78, 476, 386), (168, 16, 418, 212)):
        ImageDraw.Draw(mask).ellipse(ellipse, fill=255)
    photo.putalpha(mask.filter(ImageFilter.GaussianBlur(2)))
    return photo.crop((70, 10, 482, 392)).resize((330, 306))


def _ground() -> Image.Image:
    """Gravel, tinted like dry earth, larger than a frame because the camera shakes."""
    from skimage import data

    grey = np.asarray(Image.fromarray(data.gravel()).resize((900, 900)), dtype=float)
    mirrored = np.concatenate([grey, grey[:, ::-1]], axis=1)[: _HEIGHT + 80, : _WIDTH + 80]
    return Image.fromarray((mirrored[..., None] * [1.0, 0.93, 0.8]).clip(0, 255).astype(np.uint8))


def _vignette() -> NDArray[np.float64]:
    y, x = np.mgrid[-1 : 1 : _HEIGHT * 1j, -1 : 1 : _WIDTH * 1j]
    return np.asarray(1 - 0.22 * (x**2 + y**2))[..., None]


if __name__ == "__main__":
    film(Path(sys.argv[1]))
