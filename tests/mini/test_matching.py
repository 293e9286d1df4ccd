import math

import numpy as np
import pytest
import torch

from cavtool.mini import world
from cavtool.mini.architecture import to_model_range
from cavtool.mini.matching import Match, match, steadiest

FULL_TURN = 24


def watch(scene: world.Scene, colours: list[str], off: float = 0.0) -> Match:
    """Match a clip whose subject is thought to be off from where it is."""
    channels = scene.channels
    believed = np.stack([channels["x"] + off, channels["y"] - off, channels["log_scale"] + 3 * off], axis=1)
    return match(to_model_range(world.render(scene)), torch.from_numpy(believed).float(), colours)


@pytest.mark.parametrize("off", [-0.05, 0.05])
def test_a_subject_is_found_though_it_is_not_where_it_was_thought(off: float) -> None:
    scene = world.reference("somersault", "rocket", "blue", "desert")
    found, truth = watch(scene, ["blue", "cyan"], off), scene.channels
    assert (found.subject, found.colour) == ("rocket", "blue")
    assert np.abs(found.placings[:, 0].numpy() - truth["x"]).max() < 0.03
    assert np.abs(found.placings[:, 1].numpy() - truth["y"]).max() < 0.03
    assert np.median(np.abs(found.placings[:, 2].numpy() - truth["log_scale"])) < 0.1
    assert found.roll == pytest.approx(truth["roll"], abs=12)


def test_the_sign_of_a_turn_is_seen() -> None:
    yaw = np.linspace(0, 360, world.NUM_FRAMES)
    scene = world.Scene("cat", "red", "snow", controls={"yaw": yaw})
    back = world.Scene("cat", "red", "snow", controls={"yaw": -yaw})
    assert watch(scene, ["red"]).yaw == pytest.approx(yaw, abs=15)
    assert watch(back, ["red"]).yaw == pytest.approx(-yaw, abs=15)


def test_ironman_wears_no_colour() -> None:
    found = watch(world.Scene("ironman", "green", "city"), ["red", "yellow"])
    assert (found.subject, found.colour) == ("ironman", "")


def test_one_frame_will_do() -> None:
    pose = {"x": np.array([0.1]), "roll": np.array([90.0])}
    frame = to_model_range(world.render(world.Scene("mug", "pink", "meadow", controls=pose), 1))
    found = match(frame, torch.tensor([[0.1, 0.0, 0.0]]), ["pink"])
    assert (found.subject, len(found.roll)) == ("mug", 1)
    assert found.roll[0] == pytest.approx(90, abs=10)


def test_a_steady_turn_outvotes_a_doubtful_frame_and_goes_on_past_a_full_one() -> None:
    yaw = 2 * torch.arange(20) % FULL_TURN
    costs_YRF = torch.ones(FULL_TURN, 4, len(yaw))
    costs_YRF[yaw, 1, torch.arange(len(yaw))] = 0.0
    costs_YRF[:, :, 8] = 1.0
    costs_YRF[(yaw[8] + 12) % FULL_TURN, 3, 8] = 0.9
    path, cost = steadiest(costs_YRF)
    assert torch.equal(path // 4, yaw)
    assert torch.equal(path % 4, torch.ones_like(yaw))
    assert cost == pytest.approx(1 + 19 * 0.02 * (math.radians(30) / math.radians(15)) ** 2)


@pytest.mark.parametrize("subject", ["mug", "boat", "car", "ironman"])
def test_a_patch_of_a_wrong_colour_makes_nobody_of_a_subject(subject: str) -> None:
    scene = world.Scene(subject, "yellow", "snow")
    channels = scene.channels
    frames = world.render(scene, 4)
    frames[:, 30:38, 26:34] = (0, 200, 0)
    placed = np.stack([channels[name][:4] for name in ("x", "y", "log_scale")], axis=1)
    assert match(to_model_range(frames), torch.from_numpy(placed).float(), ["yellow", "red"]).subject == subject
