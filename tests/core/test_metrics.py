import numpy as np
import pytest

from cavtool.core.metrics import channels as metrics
from cavtool.core.metrics import stats
from cavtool.errors import InvalidInput

u = np.linspace(0, 1, 16)
still = np.zeros(16)
zigzag = {"x": 0.9 * (u - 0.5), "y": 0.22 * np.sin(4 * np.pi * u), "roll": still}
twirl = {"yaw": 360 * u, "x": still}
swing = {"roll": 35 * np.sin(4 * np.pi * u), "x": still}


def test_only_channels_that_move_are_active() -> None:
    moving = {"x": 0.04 * u, "y": 0.02 * u, "roll": 8 * u, "yaw": 12 * u}
    assert metrics.active_channels(moving) == ("x", "yaw")


def test_one_misread_frame_does_not_count_as_motion() -> None:
    glitch = still.copy()
    glitch[7] = 0.5
    assert metrics.active_channels({"x": glitch}) == ()


def test_a_turn_across_the_end_of_the_circle_has_a_small_spread() -> None:
    assert metrics.spread("roll", np.array([358.0, 359, 0, 1, 2] * 3)) == pytest.approx(4)


@pytest.mark.parametrize("track", [zigzag, twirl, swing])
def test_a_motion_scores_one_against_itself(track: dict[str, np.ndarray]) -> None:
    assert metrics.fidelity(track, track) == pytest.approx(1)


@pytest.mark.parametrize("track", [zigzag, twirl, swing])
def test_a_constant_offset_costs_nothing(track: dict[str, np.ndarray]) -> None:
    moved = {name: values + (100 if name in metrics.ANGLES else 0.2) for name, values in track.items()}
    wrapped = {name: values % 360 if name in metrics.ANGLES else values for name, values in moved.items()}
    assert metrics.fidelity(wrapped, track) == pytest.approx(1)


@pytest.mark.parametrize("track", [zigzag, twirl, swing])
def test_the_opposite_motion_scores_nothing(track: dict[str, np.ndarray]) -> None:
    backwards = {name: -values for name, values in track.items()}
    assert metrics.fidelity(backwards, track) < 0.1


@pytest.mark.parametrize("track", [zigzag, twirl, swing])
def test_standing_still_scores_nothing(track: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(0, 3 if name in metrics.ANGLES else 0.01, 16) for name in track}
    assert metrics.fidelity(dict.fromkeys(track, still), track) == 0
    assert metrics.fidelity(noise, track) < 0.1


@pytest.mark.parametrize(("ratio", "score"), [(0.2, 0), (0.4, 0.5), (0.6, 1), (1.6, 1), (2.3, 0.5), (3, 0), (5, 0)])
def test_an_amplitude_that_is_too_small_or_too_large_costs(ratio: float, score: float) -> None:
    scaled = {name: ratio * values for name, values in zigzag.items()}
    assert metrics.fidelity(scaled, zigzag) == pytest.approx(score)


def test_a_late_start_costs_some() -> None:
    late = {"x": np.interp(u - 0.1, u, zigzag["x"]), "y": np.interp(u - 0.1, u, zigzag["y"])}
    assert 0.3 < metrics.fidelity(late, zigzag) < 0.9


def test_one_misread_frame_does_not_lose_the_turn() -> None:
    misread = twirl["yaw"].copy()
    misread[6] += 170
    assert metrics.correlation("yaw", misread, twirl["yaw"]) > 0.85
    assert metrics.fidelity({"yaw": misread}, twirl) > 0.7


def test_half_a_turn_and_back_does_not_count_as_a_full_turn() -> None:
    there_and_back = {"yaw": 90 * (1 - np.abs(2 * u - 1))}
    assert metrics.fidelity(there_and_back, twirl) < 0.2


def test_every_active_channel_counts_the_same() -> None:
    only_x = zigzag | {"y": still}
    assert metrics.channel_scores(only_x, zigzag) == {"x": pytest.approx(1), "y": 0}
    assert metrics.fidelity(only_x, zigzag) == pytest.approx(0.5)


def test_a_still_reference_is_refused() -> None:
    with pytest.raises(InvalidInput):
        metrics.fidelity(zigzag, {"x": still})


def test_stillness_is_measured_on_the_inactive_channels() -> None:
    rng = np.random.default_rng(0)
    limits = metrics.spread_limits([{"x": rng.normal(0, 0.01, 16), "y": rng.normal(0, 0.01, 16)} for _ in range(20)])
    assert 0.01 < limits["y"] < 0.06
    assert metrics.stillness({"x": u, "y": still}, ["x"], limits) == 1
    assert metrics.stillness({"x": u, "y": u}, ["x"], limits) == 0
    assert metrics.stillness({"x": u, "y": u}, ["x", "y"], limits) == 1


def test_a_leak_is_the_references_attribute_in_place_of_the_requested_one() -> None:
    requested = {"subject": "ironman", "colour": "", "place": "desert"}
    reference = {"subject": "lantern", "colour": "white", "place": "moon"}
    seen = {"subject": "lantern", "colour": "white", "place": "ocean"}
    assert metrics.leaked(requested, seen, reference) == {"subject": True, "place": False}
    assert not any(metrics.leaked(requested, requested, requested).values())


def test_intervals_contain_the_mean_and_are_reproducible() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.1, 40)
    low, high = stats.bootstrap_interval(values, seed=3)
    assert low < values.mean() < high
    assert (low, high) == stats.bootstrap_interval(values, seed=3)


def test_pairs_show_a_difference_smaller_than_the_spread() -> None:
    theirs = np.random.default_rng(2).normal(0.5, 0.2, 30)
    low, high = stats.paired_interval(list(theirs + 0.05), list(theirs))
    assert 0.04 < low <= high < 0.06
