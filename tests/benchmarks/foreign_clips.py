"""Sixteen clips unlike cav-mini's world, with ground truth: other shapes, grounds, sizes and frame rates, real photos.

Twelve are drawn here. Four are the files of `clips/`, made by others: `truth.json` has x, y, scale and angle of the
subject in each frame. `python -m tests.benchmarks.foreign_clips FOLDER` writes them all. Photos are scikit-image's.
"""

import json
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from cavtool import video

Track = NDArray[np.float64]
CLIPS = Path(__file__).parent / "clips"
CHANNELS = ("x", "y", "log_scale", "roll", "yaw", "camera_x", "camera_y", "camera_zoom")
SECONDS = 2.0
_MARGIN = 0.35  # of the ground's sides beyond the frame, on each side, for the camera to move in


@dataclass(frozen=True)
class Style:
    """How a renderer's clips look: pixels, frames per second, standard deviation of the grain (of 255)."""

    width: int
    height: int
    fps: int
    ground: Callable[[int, int], Image.Image]  # of width and height
    subject: Callable[[int], Image.Image]  # RGBA, of its side
    grain: float = 0.0


@dataclass(frozen=True)
class Foreign(ABC):
    """A clip of two seconds: its prompt, and its prompt without the motion."""

    prompt: str
    appearance: str

    @abstractmethod
    def write(self, file: Path) -> None:
        """Write it as an mp4."""

    @abstractmethod
    def tracks_at(self, seconds_F: Track) -> Mapping[str, Track]:
        """Ground truth of the frames shown at these times, of the channels that move."""

    def channels(self, num_frames: int, fps: float) -> dict[str, Track]:
        """Ground truth of the frames that are shown at these times (num_frames,).

        Channels as in `cavtool.mini.world`, but x and y from the middle in frame heights.
        """
        found = self.tracks_at(np.arange(num_frames) / fps)
        return {name: np.asarray(found.get(name, np.zeros(num_frames)), float) for name in CHANNELS}


@dataclass(frozen=True)
class Given(Foreign):
    """A clip of `clips/`."""

    name: str

    def write(self, file: Path) -> None:
        shutil.copy(CLIPS / f"{self.name}.mp4", file)

    def tracks_at(self, seconds_F: Track) -> Mapping[str, Track]:
        truth = json.loads((CLIPS / "truth.json").read_text())[self.name]
        shown_F = np.floor(seconds_F * truth["fps"]).astype(int)
        x, y, scale, angle = np.array(truth["x_y_scale_angle"])[shown_F].T
        return {"x": x, "y": y, "log_scale": np.log(scale), "roll": np.degrees(angle)}


@dataclass(frozen=True)
class Drawn(Foreign):
    """A clip drawn in a style, and its tracks over u in [0, 1]."""

    style: Style
    tracks: Callable[[Track], Mapping[str, Track]]

    def write(self, file: Path) -> None:
        video.encode(self.render(), file, fps=self.style.fps)

    def tracks_at(self, seconds_F: Track) -> Mapping[str, Track]:
        return self.tracks(np.floor(seconds_F * self.style.fps) / (self._num_frames - 1))

    def render(self) -> video.Frames:
        """The frames (F, H, W, 3)."""
        style, rng = self.style, np.random.default_rng(7)
        wide, high = (round((1 + 2 * _MARGIN) * side) for side in (style.width, style.height))
        ground, sprite = style.ground(wide, high), style.subject(round(0.32 * style.height))
        tracks = self.channels(self._num_frames, style.fps)
        frames = []
        for f in range(self._num_frames):
            at = {name: float(track[f]) for name, track in tracks.items()}
            picture = self._ground_at(ground, at)
            scale = np.exp(at["log_scale"])
            size = (max(2, round(sprite.width * scale)), max(2, round(sprite.height * scale)))
            placed = sprite.resize(size, Image.Resampling.LANCZOS)
            placed = placed.rotate(-at["roll"], Image.Resampling.BICUBIC, expand=True)
            x, y = style.width / 2 + style.height * at["x"], style.height * (0.5 + at["y"])
            picture.paste(placed, (round(x - placed.width / 2), round(y - placed.height / 2)), placed)
            pixels = np.asarray(picture, float) + rng.normal(0, style.grain, (style.height, style.width, 1))
            frames.append(pixels.clip(0, 255).astype(np.uint8))
        return np.stack(frames)

    def _ground_at(self, ground: Image.Image, at: Mapping[str, float]) -> Image.Image:
        style, zoom = self.style, np.exp(at["camera_zoom"])
        middle_x = ground.width / 2 + style.height * at["camera_x"]
        middle_y = ground.height / 2 + style.height * at["camera_y"]
        half_x, half_y = style.width / 2 / zoom, style.height / 2 / zoom
        box = (middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y)
        return ground.resize((style.width, style.height), Image.Resampling.BICUBIC, box)

    @property
    def _num_frames(self) -> int:
        return round(SECONDS * self.style.fps)


# Grounds and subjects


def _speckled(width: int, height: int) -> Image.Image:
    """Coarse coloured noise above a darker floor."""
    noise = np.random.default_rng(1).integers(70, 180, (height // 12 + 1, width // 12 + 1, 3))
    picture = Image.fromarray(noise.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    shade = np.where(np.arange(height) > 0.6 * height, 0.4, 1.0)[:, None, None]
    return Image.fromarray((np.asarray(picture) * shade).astype(np.uint8))


def _paper(width: int, height: int) -> Image.Image:
    """Cream paper with faint blue lines."""
    picture = Image.new("RGB", (width, height), (243, 236, 216))
    draw = ImageDraw.Draw(picture)
    for y in range(0, height, max(8, height // 24)):
        draw.line((0, y, width, y), fill=(196, 208, 226), width=2)
    draw.line((width // 5, 0, width // 5, height), fill=(222, 160, 160), width=2)
    return picture


def _carpet(width: int, height: int) -> Image.Image:
    """Broad stripes and diamonds."""
    y, x = np.mgrid[:height, :width] / height
    waves = 0.5 + 0.25 * np.sin(40 * (x + y)) + 0.25 * np.sin(40 * (x - y))
    colours = np.array([60, 30, 40]) + waves[..., None] * np.array([120, 60, 50])
    return Image.fromarray(colours.astype(np.uint8))


def _brick(width: int, height: int) -> Image.Image:
    """A photographed brick wall, lit warmly."""
    from skimage import data

    grey = np.asarray(Image.fromarray(data.brick()).resize((width, height)), float)
    return Image.fromarray((grey[..., None] * [1.0, 0.82, 0.7]).clip(0, 255).astype(np.uint8))


def _shape(kind: str, fill: tuple[int, int, int], mark: tuple[int, int, int]) -> Callable[[int], Image.Image]:
    """A flat ball, box or star with a mark on it, by its side."""

    def draw(side: int) -> Image.Image:
        big = 4 * side
        picture = Image.new("RGBA", (big, big))
        pen = ImageDraw.Draw(picture)
        if kind == "ball":
            pen.ellipse((0, 0, big - 1, big - 1), fill=fill)
        elif kind == "box":
            pen.rectangle((big // 10, big // 10, big * 9 // 10, big * 9 // 10), fill=fill)
        else:
            angles = np.arange(10) * np.pi / 5 - np.pi / 2
            radii = np.where(np.arange(10) % 2, 0.21, 0.5) * big
            points = np.stack([big / 2 + radii * np.cos(angles), big / 2 + radii * np.sin(angles)], axis=1)
            pen.polygon([tuple(point) for point in points.tolist()], fill=fill)
        pen.rectangle((big * 3 // 10, big * 45 // 100, big * 7 // 10, big * 55 // 100), fill=mark)
        return picture.resize((side, side), Image.Resampling.LANCZOS)

    return draw


def _inked(side: int) -> Image.Image:
    """A house drawn in ink."""
    big = 4 * side
    picture = Image.new("RGBA", (big, big))
    pen, ink, width = ImageDraw.Draw(picture), (40, 40, 60, 255), max(4, big // 24)
    box = (big // 6, big * 2 // 5, big * 5 // 6, big * 19 // 20)
    pen.rectangle(box, fill=(250, 246, 236, 255), outline=ink, width=width)
    pen.polygon([(big // 12, big * 2 // 5), (big // 2, big // 20), (big * 11 // 12, big * 2 // 5)], fill=(200, 90, 70))
    pen.rectangle((big * 4 // 10, big * 6 // 10, big * 6 // 10, big * 19 // 20), outline=ink, width=width)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def _checkered(side: int) -> Image.Image:
    """A black and white checkered ball."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    squares = np.where((np.floor(3 * x) + np.floor(3 * y)) % 2, 235, 25) * (1 - 0.35 * (x**2 + y**2).clip(0, 1))
    alpha = np.where(x**2 + y**2 < 1, 255, 0)
    return Image.fromarray(np.stack([squares, squares, squares, alpha], axis=-1).astype(np.uint8), "RGBA")


def _cup(side: int) -> Image.Image:
    """A photographed cup of coffee, cut out."""
    from skimage import data

    photo = Image.fromarray(data.coffee())
    mask = Image.new("L", photo.size)
    for ellipse in ((76, 78, 476, 386), (168, 16, 418, 212)):
        ImageDraw.Draw(mask).ellipse(ellipse, fill=255)
    photo.putalpha(mask.filter(ImageFilter.GaussianBlur(2)))
    return photo.crop((70, 10, 482, 392)).resize((round(side * 1.08), side), Image.Resampling.LANCZOS)


def _plain(kind: str, fill: tuple[int, int, int]) -> Style:
    return Style(320, 240, 30, _speckled, _shape(kind, fill, tuple(level // 2 for level in fill)))  # type: ignore[arg-type]


_PAPER_HOUSE = Style(480, 480, 24, _paper, _inked)
_PAPER_STAR = Style(480, 360, 24, _paper, _shape("star", (70, 110, 200), (250, 250, 250)))
_CARPET = Style(256, 256, 12, _carpet, _checkered, grain=4.0)
_PHOTO = Style(640, 360, 25, _brick, _cup, grain=6.0)


# Tracks


def _smooth(u: Track) -> Track:
    return np.asarray(u * u * (3 - 2 * u))


def _hops(u: Track) -> Mapping[str, Track]:
    return {"x": 0.6 * u - 0.3, "y": 0.15 - 0.3 * np.abs(np.sin(3 * np.pi * u))}


def _sways(u: Track) -> Mapping[str, Track]:
    return {"x": 0.25 * np.sin(3 * np.pi * u), "roll": 30 * np.sin(3 * np.pi * u)}


def _triangle(u: Track) -> Mapping[str, Track]:
    corners = np.array([[-0.25, 0.2], [0.0, -0.25], [0.25, 0.2], [-0.25, 0.2]])
    return {name: np.interp(3 * u, range(4), corners[:, i]) for i, name in enumerate(("x", "y"))}


def _swells_twice(u: Track) -> Mapping[str, Track]:
    return {"log_scale": 0.55 * np.sin(2 * np.pi * u) ** 2}


def _there_and_back(u: Track) -> Mapping[str, Track]:
    return {"x": np.where(u < 0.35, 0.3 - 0.6 * _smooth(u / 0.35), -0.3 + 0.6 * _smooth((u - 0.35).clip(0) / 0.65))}


def _push_in(u: Track) -> Mapping[str, Track]:
    return {"log_scale": 0.5 * _smooth(u), "camera_zoom": 0.5 * _smooth(u)}


def _valley(u: Track) -> Mapping[str, Track]:
    x = 0.3 * np.cos(3 * np.pi * u)
    return {"x": x, "y": 0.2 - 4 * x**2, "roll": np.degrees(x / 0.16)}


def _pans_and_returns(u: Track) -> Mapping[str, Track]:
    return {"camera_x": 0.3 * np.sin(np.pi * u), "x": -0.3 * np.sin(np.pi * u)}


def _eight_upright(u: Track) -> Mapping[str, Track]:
    return {"x": 0.2 * np.sin(4 * np.pi * u), "y": 0.28 * np.cos(2 * np.pi * u)}


def _comes_in_bounds(u: Track) -> Mapping[str, Track]:
    return {"log_scale": 0.9 * u - 0.45, "y": 0.1 - 0.22 * np.abs(np.sin(2.5 * np.pi * u))}


def _tumbles(u: Track) -> Mapping[str, Track]:
    return {"x": 0.3 - 0.6 * u, "roll": -360 * _smooth(u)}


def _zooms_and_returns(u: Track) -> Mapping[str, Track]:
    return {"camera_zoom": 0.5 * np.sin(np.pi * u), "log_scale": 0.5 * np.sin(np.pi * u)}


TUNE: dict[str, Foreign] = {
    "hops": Drawn("a green ball hops away", "a green ball", _plain("ball", (40, 170, 60)), _hops),
    "sways": Drawn("a black box sways", "a black box", _plain("box", (24, 24, 24)), _sways),
    "triangle": Drawn("a star goes round a triangle", "a drawn star", _PAPER_STAR, _triangle),
    "swells": Drawn("a drawn house swells twice", "a drawn house", _PAPER_HOUSE, _swells_twice),
    "returns": Drawn("a cup of coffee darts and comes back", "a cup of coffee", _PHOTO, _there_and_back),
    "push": Drawn("the camera rushes to a cup", "a cup of coffee", _PHOTO, _push_in),
    "valley": Drawn("a checkered ball rolls through a valley", "a checkered ball", _CARPET, _valley),
    "pan": Drawn("the camera looks away from a ball and back", "a checkered ball", _CARPET, _pans_and_returns),
}
REPORT: dict[str, Foreign] = {
    "loop": Given("a red ball loops", "a red ball", "loop"),
    "stairs": Given("a white box climbs stairs", "a white box", "stairs"),
    "breath": Given("a yellow ball breathes", "a yellow ball", "breath"),
    "fall": Given("a purple box falls and rolls", "a purple box", "fall_and_roll"),
    "eight": Drawn("a drawn house glides in an eight", "a drawn house", _PAPER_HOUSE, _eight_upright),
    "bounds": Drawn("a cup of coffee comes in bounds", "a cup of coffee", _PHOTO, _comes_in_bounds),
    "tumbles": Drawn("a star tumbles by", "a drawn star", _PAPER_STAR, _tumbles),
    "zoom": Drawn("the camera nears a ball and leaves", "a checkered ball", _CARPET, _zooms_and_returns),
}


def main() -> None:
    """Write the clips."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, clip in (TUNE | REPORT).items():
        clip.write(folder / f"{name}.mp4")


if __name__ == "__main__":
    main()
