"""Motion fidelity on renders of the toy world, whose motions are known. `tests/benchmarks/fidelity.py` has them all."""

from functools import cache

import numpy as np
import pytest

from cavtool.core.metrics.camera import camera_curve, camera_fidelity, object_curve
from cavtool.core.metrics.tracks import Frames, Motion, fidelity, motion_fidelity, object_fidelity, read_motion
from cavtool.errors import InvalidInput
from cavtool.mini import world
from cavtool.mini2.world.motions import CAMERA_CONTROLS, CAMERA_MOTIONS, SUBJECT_CONTROLS
from cavtool.mini2.world.scenes import TIME, Scene, render

U = np.linspace(0, 1, world.NUM_FRAMES)
LOOKS = (("cat", "red", "forest"), ("rocket", "blue", "desert"))


@cache
def clip(motion: str, look: int = 0) -> Frames:
    courses = {
        **{name: course(U) for name, course in world.HELD_OUT_MOTIONS.items()},
        **{name: course(U, 1.0) for name, course in (world.OBJECT_MOTIONS | world.CAMERA_MOTIONS).items()},
    }[motion]
    still = dict.fromkeys(world.CHANNELS, np.zeros(world.NUM_FRAMES))
    return world.render(
        world.Scene(*LOOKS[look], layout=look, controls=still | {k: 0 * U + v for k, v in courses.items()})
    )


@cache
def motion_of(motion: str, look: int = 0) -> Motion:
    return read_motion(clip(motion, look))


@pytest.mark.parametrize("motion", ["circle", "zigzag", "figure eight", "dolly zoom", "grows"])
def test_the_same_motion_on_another_subject_and_place_scores_above_every_other_motion(motion: str) -> None:
    same = fidelity(motion_of(motion, 1), motion_of(motion))
    others = {"circle", "zigzag", "figure eight", "dolly zoom", "grows"} - {motion}
    assert same > 0.85
    assert same > 0.15 + max(fidelity(motion_of(other, 1), motion_of(motion)) for other in others)


def test_a_clip_has_full_fidelity_to_itself() -> None:
    assert motion_fidelity(clip("circle"), clip("circle")) == pytest.approx(1)


def test_nothing_that_stands_still_has_the_motion() -> None:
    for still in (clip("circle")[:1].repeat(16, axis=0), clip("stands still", 1), np.zeros_like(clip("circle"))):
        assert motion_fidelity(still, clip("circle")) == 0
        assert object_fidelity(read_motion(still), motion_of("circle")) == 0


@pytest.mark.parametrize("motion", ["circle", "figure eight", "moves left"])
def test_reversing_time_lowers_the_score(motion: str) -> None:
    assert motion_fidelity(clip(motion)[::-1], clip(motion)) < 0.5


def test_a_motion_that_is_the_same_backwards_keeps_its_score() -> None:
    assert motion_fidelity(clip("bounces")[::-1], clip("bounces")) > 0.95


@pytest.mark.parametrize("mirrored", [("zooms in", "zooms out"), ("moves left", "pans right"), ("grows", "zooms in")])
def test_motions_of_which_some_points_move_alike_are_told_apart(mirrored: tuple[str, str]) -> None:
    one, other = mirrored
    assert fidelity(motion_of(one, 1), motion_of(other)) < fidelity(motion_of(other, 1), motion_of(other)) - 0.15


def test_where_in_the_frame_and_how_large_the_motion_is_does_not_count() -> None:
    def scene(**courses: np.ndarray) -> Frames:
        still = dict.fromkeys(world.CHANNELS, np.zeros(world.NUM_FRAMES))
        return world.render(world.Scene("cat", "red", "forest", 0, still | courses))

    wave = np.sin(2 * np.pi * U)
    small_and_high = scene(x=0.15 * wave - 0.1, y=np.full(16, -0.2), log_scale=np.full(16, -0.4))
    assert motion_fidelity(small_and_high, scene(x=0.3 * wave, y=np.full(16, 0.1))) > 0.9


def test_neither_resolution_nor_aspect_counts() -> None:
    large = clip("circle", 1).repeat(4, axis=1).repeat(4, axis=2)
    wide = np.pad(large, [(0, 0), (0, 0), (64, 64), (0, 0)], mode="edge")
    score = motion_fidelity(clip("circle", 1), clip("circle"))
    assert motion_fidelity(large, clip("circle")) == pytest.approx(score, abs=0.06)
    assert motion_fidelity(wide, clip("circle")) == pytest.approx(score, abs=0.06)


def test_the_score_is_deterministic() -> None:
    again = [motion_fidelity(clip("dolly zoom", 1), clip("dolly zoom")) for _ in range(2)]
    assert again[0] == again[1]


def test_the_camera_and_the_subject_are_told_apart() -> None:
    panned, moved = camera_curve(motion_of("pans right")), camera_curve(motion_of("moves right"))
    truth = world.CAMERA_MOTIONS["pans right"](U, 1.0)["camera_x"]
    assert panned["x"] == pytest.approx(truth - truth[0], abs=0.03)
    assert np.abs([*moved.values()]).max() == 0
    zoomed = camera_curve(motion_of("dolly zoom"))
    assert zoomed["log_scale"] == pytest.approx(0.7 * U, abs=0.05)
    assert object_curve(motion_of("moves right"))["x"][-1] == pytest.approx(0.54, abs=0.05)
    assert object_curve(motion_of("grows"))["log_scale"][-1] == pytest.approx(0.84, abs=0.1)


def test_the_fidelity_of_the_camera_needs_a_camera_that_moves() -> None:
    assert camera_fidelity(motion_of("pans right", 1), motion_of("pans right")) == pytest.approx(1, abs=0.1)
    assert camera_fidelity(motion_of("moves right"), motion_of("pans right")) == 0
    assert camera_fidelity(motion_of("pans right"), motion_of("moves right")) is None


def test_what_looks_like_a_slight_zoom_in_a_tilt_does_not_count() -> None:
    tilts = {"tilt": CAMERA_MOTIONS["tilts up"](TIME, 1.0)["tilt"], "y": np.full(len(TIME), 0.1)}
    controls = dict.fromkeys((*SUBJECT_CONTROLS, *CAMERA_CONTROLS), np.zeros(len(TIME))) | tilts
    looks = (("cat", "red", "forest", 1), ("car", "green", "snow", 3))
    one, other = (read_motion(render(Scene(*look, controls))) for look in looks)
    assert np.ptp(camera_curve(one)["log_scale"]) > 0.03, "alone, it would count as a zoom"
    assert camera_fidelity(other, one) == pytest.approx(1, abs=0.05)


def test_four_frames_are_enough() -> None:
    assert motion_fidelity(clip("moves left", 1)[::5], clip("moves left")[::5]) > 0.7


def test_a_reference_that_does_not_move_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not move"):
        motion_fidelity(clip("circle"), clip("stands still"))


def test_clips_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput, match="15 and 16"):
        motion_fidelity(clip("circle")[:15], clip("circle"))
