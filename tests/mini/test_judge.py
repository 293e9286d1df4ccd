import itertools

import numpy as np
import pytest

from cavtool.core.metrics import channels as metrics
from cavtool.mini import world
from cavtool.mini.judge import WEIGHTS, Judge, Reading, load_judge


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


def read(judge: Judge, motion: str, subject: str, colour: str, place: str) -> tuple[Reading, world.Tracks]:
    scene = world.reference(motion, subject, colour, place, layout=60)
    return judge.read(world.render(scene)), scene.channels


def test_the_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size <= 1_250_000


LOOKS = [("duck", "white", "moon"), ("cat", "red", "desert"), ("teapot", "grey", "kitchen")]


@pytest.mark.parametrize(("motion", "look"), list(zip(world.HELD_OUT_MOTIONS, itertools.cycle(LOOKS), strict=False)))
def test_a_motion_is_recovered(judge: Judge, motion: str, look: tuple[str, str, str]) -> None:
    """Each motion once; `tests/benchmarks/judge.py` measures many more combinations."""
    reading, truth = read(judge, motion, *look)
    assert (reading.subject, reading.colour, reading.place) == look
    assert metrics.fidelity(reading.channels, truth) > 0.9


def test_standing_still_is_no_motion(judge: Judge) -> None:
    reading = judge.read(world.render(world.Scene("robot", "blue", "snow")))
    for motion in world.HELD_OUT_MOTIONS:
        truth = world.reference(motion, "robot", "blue", "snow").channels
        assert metrics.fidelity(reading.channels, truth) < 0.1, motion


def test_ironman_has_no_colour(judge: Judge) -> None:
    reading, _ = read(judge, "twirl", "ironman", "red", "ocean")
    assert (reading.subject, reading.colour) == ("ironman", "")


def test_every_channel_of_a_still_pose(judge: Judge) -> None:
    pose = {"x": 0.2, "y": -0.15, "log_scale": 0.3, "roll": 40.0, "yaw": 0.0}
    courses = {name: np.full(world.NUM_FRAMES, value) for name, value in pose.items()}
    reading = judge.read(world.render(world.Scene("robot", "green", "city", controls=courses)))
    found = {name: float(np.median(values)) for name, values in reading.channels.items()}
    assert tuple(found) == world.CHANNELS
    assert [found[name] for name in ("x", "y")] == pytest.approx([0.2, -0.15], abs=0.04)
    assert found["log_scale"] == pytest.approx(0.3, abs=0.1)
    assert [found[name] for name in ("roll", "yaw")] == pytest.approx([40, 0], abs=15)
    assert [found[name] for name in world.CHANNELS[5:]] == pytest.approx([0, 0, 0], abs=0.03)


def test_camera_moves_are_told_apart_from_the_subjects(judge: Judge) -> None:
    pan = {"camera_x": np.linspace(0.1, 0.5, world.NUM_FRAMES)}
    channels = judge.read(world.render(world.Scene("car", "yellow", "forest", controls=pan))).channels
    assert channels["camera_x"][-1] == pytest.approx(0.4, abs=0.06)
    assert channels["camera_x"][0] == 0
    assert np.ptp(channels["x"]) < 0.05


def test_any_number_of_frames(judge: Judge) -> None:
    frames = world.render(world.Scene("mug", "pink", "meadow"), 2)
    assert all(len(values) == 2 for values in judge.read(frames).channels.values())


@pytest.mark.parametrize("looks", ["noise", "black"])
def test_a_clip_that_shows_nothing_is_read_all_the_same(judge: Judge, looks: str) -> None:
    shape = (4, world.SIDE, world.SIDE, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    channels = judge.read(noise if looks == "noise" else np.zeros(shape, np.uint8)).channels
    assert all(np.isfinite(values).all() for values in channels.values())
