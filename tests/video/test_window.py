from collections.abc import Sequence

import numpy as np
import pytest

from cavtool import video
from cavtool.events import Event, Stage, Step
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


@pytest.mark.parametrize("between", [[255], [0], [0, 0], []], ids=["flash", "black", "two black", "hard cut"])
def test_a_part_without_cuts_flashes_and_blank_frames_is_chosen(make: Make, between: list[int]) -> None:
    moving = ball([0.5] * 8 + [0.4 + 0.02 * (k % 4) for k in range(16)] + [0.5] * 16, 40)
    blank = np.broadcast_to(np.array(between, np.uint8)[:, None, None, None], (len(between), 64, 96, 3))
    path = make(f"between-{between}.mp4", np.concatenate([moving, blank, ball([0.1] * 24, 220)]), *H264)
    window = video.busiest_window(path, 1.5)
    assert 0.75 <= window.start <= 1.75
    assert window.num_cuts == 0


def test_a_fade_and_a_strobe_are_not_movement(make: Make) -> None:
    fade, strobe = [40 + 8 * k for k in range(24)], [120, 60] * 12
    path = make(
        "fade.mp4", ball([0.4 + 0.02 * (k % 4) for k in range(16)] + [0.5] * 48, [40] * 16 + fade + strobe), *H264
    )
    assert video.busiest_window(path, 1.5).start <= 0.5


def test_if_every_part_has_a_cut_the_window_says_how_many(make: Make) -> None:
    path = make("cuts.mp4", ball([0.5] * 48, [20] * 6 + ([220] * 6 + [20] * 6) * 3 + [220] * 6), *H264)
    assert video.busiest_window(path, 2).num_cuts >= 1


def test_the_busiest_part_of_a_long_video_is_found(make: Make) -> None:
    positions = [0.5] * 1200 + [0.4 + 0.02 * (k % 8) for k in range(24)] + [0.5] * 500
    events: list[Event] = []
    window = video.busiest_window(make("long.mp4", ball(positions), *H264), 2, on_event=events.append)
    assert window.start == pytest.approx(150.5, abs=1)
    stage, *steps = events
    assert isinstance(stage, Stage)
    assert [(step.step, step.num_steps) for step in steps if isinstance(step, Step)] == [(k, 16) for k in range(1, 17)]


def test_a_video_shorter_than_the_window_is_taken_whole(make: Make) -> None:
    window = video.busiest_window(make("short.mp4", ball(swing(16)), *H264), 3)
    assert window.start == 0
    assert window.duration == pytest.approx(2, abs=0.02)
    assert window.motion > 0.02


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
