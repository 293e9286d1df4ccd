from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cavtool import video
from cavtool.video import Frames
from tests.video.films import FORMATS, H264, Make, clock


def ball(positions: Sequence[float], ground: Sequence[int] | int = 40) -> Frames:
    """A bright square at these places from left (0) to right (1)."""
    grounds = np.broadcast_to(np.asarray(ground, np.uint8), (len(positions),))
    frames = np.broadcast_to(grounds[:, None, None, None], (len(positions), 64, 96, 3)).copy()
    for frame, x in zip(frames, positions, strict=True):
        frame[24:40, round(x * 80) : round(x * 80) + 16] = 230
    return frames


def swing(num_frames: int) -> list[float]:
    return [0.5 + 0.5 * float(np.sin(k / 2)) for k in range(num_frames)]


def test_the_busiest_part_is_chosen_with_the_motion_in_its_middle(make: Make) -> None:
    path = make("moves-late.mp4", ball([0.5] * 24 + swing(8) + [0.5] * 16), *H264)
    exact = video.busiest_window(path, 1)
    assert exact.start == pytest.approx(3, abs=0.15)
    assert exact.duration == 1
    assert exact.motion > 0.005
    around = video.busiest_window(path, 2)
    assert around.start == pytest.approx(2.5, abs=0.3)
    assert video.busiest_window(path, 5.5).motion < exact.motion


def test_a_cut_is_not_movement(make: Make) -> None:
    grounds = [20] * 16 + [200] * 16 + [20] * 24
    path = make("cut.mp4", ball([0.5] * 36 + swing(12) + [0.5] * 8, grounds), *H264)
    assert video.busiest_window(path, 1.5).start == pytest.approx(4.5, abs=0.3)


def test_a_video_shorter_than_the_window_is_used_whole(film: Path) -> None:
    window = video.busiest_window(film, 3)
    assert window.start == 0
    assert window.duration == pytest.approx(2, abs=0.02)
    assert window.motion == pytest.approx(12 / 255, rel=0.3)


@pytest.mark.parametrize("name", ["vfr.mp4", "anim.gif", "anim.webp", "vp9.webm"])
def test_a_window_can_be_decoded_from_every_kind_of_file(name: str, make: Make) -> None:
    path = make(name, clock(16), *FORMATS.get(name, ("", H264))[1])
    window = video.busiest_window(path, 1)
    video.decode(path, start=window.start, duration=window.duration, num_frames=8, width=32, height=32)


@pytest.mark.parametrize("pixel_aspect", ["1", "2"])
def test_motion_outside_the_crop_does_not_count(pixel_aspect: str, make: Make) -> None:
    frames = np.full((48, 64, 192, 3), 90, np.uint8)
    for f in range(48):
        left, column = (f * 5 % 40, slice(0, 64)) if f < 24 else (f * 2 % 40, slice(64, 128))
        frames[f, 20:40, column][:, left : left + 20] = 230 if f < 24 else 150
    path = make(f"outside-{pixel_aspect}.mp4", frames, "-vf", f"setsar={pixel_aspect}", *H264)
    aspect = float(pixel_aspect)
    assert video.busiest_window(path, 2, 3 * aspect).start < 1.2
    assert video.busiest_window(path, 2, aspect).start > 2.5


def test_motion_of_a_subject_as_bright_as_its_background_counts(make: Make) -> None:
    frames = np.full((48, 64, 64, 3), 88, np.uint8)
    for f in range(48):
        x, colour = (f * 5 % 40, (96, 96, 96)) if f < 24 else (f * 2 % 40, (200, 40, 40))
        frames[f, 20:40, x : x + 20] = colour
    path = make("as-bright.mp4", frames, "-pix_fmt", "yuv444p", "-c:v", "libx264")
    assert video.busiest_window(path, 2).start > 2.5
