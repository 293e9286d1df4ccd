from collections.abc import Mapping

import numpy as np
import pytest
import torch

from cavtool.mini import world
from cavtool.mini.architecture import to_model_range
from cavtool.mini.camera import track

u = np.linspace(0, 1, world.NUM_FRAMES)


def tracked(place: str, courses: Mapping[str, world.Track]) -> np.ndarray:
    scene = world.Scene("cat", "red", place, layout=7, controls=courses)
    channels = scene.channels
    places = np.stack([channels["x"], channels["y"], world.SIZE * np.exp(channels["log_scale"])], axis=1)
    told = torch.from_numpy(0.9 * channels["camera_zoom"]).float()
    return track(to_model_range(world.render(scene)), torch.from_numpy(places).float(), told).numpy()


@pytest.mark.parametrize("place", ["desert", "snow", "night", "kitchen"])
@pytest.mark.parametrize("channel", ["camera_x", "camera_y", "camera_zoom"])
def test_one_move_at_a_time(place: str, channel: str) -> None:
    size = {"camera_x": 0.3, "camera_y": 0.25, "camera_zoom": 0.5}[channel]
    column = ["camera_x", "camera_y", "camera_zoom"].index(channel)
    expected = np.zeros((world.NUM_FRAMES, 3))
    expected[:, column] = size * u
    assert np.abs(tracked(place, {channel: size * u}) - expected).max() < 0.05


def test_a_pan_while_zooming_is_in_units_of_the_first_frame() -> None:
    found = tracked("forest", {"camera_x": 0.2 * u, "camera_zoom": 0.3 + 0.4 * u})
    assert found[-1] == pytest.approx([0.2 * np.exp(0.3), 0, 0.4], abs=0.05)


def test_a_subject_that_moves_is_no_camera_that_moves() -> None:
    found = tracked("ocean", {"x": 0.8 * (u - 0.5), "log_scale": 0.3 * u})
    assert np.abs(found).max() < 0.02


def test_a_picture_without_a_backdrop_stands_still() -> None:
    frames = torch.zeros(4, 3, 64, 64)
    assert track(frames, torch.full((4, 3), 0.2), torch.zeros(4)).abs().max() == 0
