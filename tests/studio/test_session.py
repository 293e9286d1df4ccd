from typing import Any

import pytest
import torch

from cavtool.core.adapters.lora import LoraState, pairs_of
from cavtool.studio.session import Motion, Session, open_session
from tests.core.test_lora import random_state


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session("cav-mini")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise_from", "num_steps", "num_merged"), [(0.0, 10, 10), (0.7, 10, 3), (0.7, 1, 1), (0.999, 10, 1), (0.45, 4, 3)]
)
def test_a_motion_is_merged_at_the_timesteps_it_was_trained_on(
    session: Session, noise_from: float, num_steps: int, num_merged: int
) -> None:
    """Ten sampling steps of cav-mini are at timesteps 999, 899, 799, ...; four at 999, 749, 499, 249."""
    names = session.backbone.temporal_targets()
    layer: Any = session.backbone.denoiser.get_submodule(names[0])
    original, changed = layer.weight.data_ptr(), []
    session.generate(
        "a red cat",
        1,
        [Motion(random_state(session.backbone, names, 1), noise_from=noise_from)],
        steps=num_steps,
        guidance=1,
        on_step=lambda _: changed.append(layer.weight.data_ptr() != original),
    )
    assert changed == [True] * num_merged + [False] * (num_steps - num_merged)
    assert layer.weight.data_ptr() == original


@pytest.mark.slow
@pytest.mark.parametrize(
    ("windows", "num_steps", "active"),
    [
        ([(0.25, 0.75)], 4, ["", "a", "a", ""]),
        ([(0.0, 0.5), (0.5, 1.0)], 4, ["a", "a", "b", "b"]),
        ([(0.2, 0.8), None], 5, ["b", "ab", "a", "a", ""]),  # without a window from noise level 0.7 on: 999, 799
        ([(0.6, 0.61), (0.98, 1.0)], 2, ["", "ab"]),  # at least one step each
    ],
)
def test_a_motion_is_merged_at_the_steps_of_its_window(
    session: Session, windows: list[tuple[float, float] | None], num_steps: int, active: list[str]
) -> None:
    names = session.backbone.temporal_targets()
    layer: Any = session.backbone.denoiser.get_submodule(names[0])
    states = [random_state(session.backbone, names, seed) for seed in (1, 2)]
    original, first, second = (tensor.clone() for tensor in (layer.weight.data, *(_delta(s, names[0]) for s in states)))
    expected = {"": original, "a": original + first, "b": original + second, "ab": original + first + second}
    seen: list[str] = []

    def on_step(_: int) -> None:
        seen.extend(key for key, weights in expected.items() if torch.allclose(layer.weight.data, weights, atol=1e-6))

    motions = [Motion(state, 1.0, 0.7, window) for state, window in zip(states, windows, strict=False)]
    session.generate("a red cat", 1, motions, steps=num_steps, guidance=1, on_step=on_step)
    assert seen == active
    assert torch.equal(layer.weight.data, original)


@pytest.mark.slow
def test_motions_take_turns_at_the_steps_that_they_share(session: Session) -> None:
    names = session.backbone.temporal_targets()
    layer: Any = session.backbone.denoiser.get_submodule(names[0])
    states = [random_state(session.backbone, names, seed) for seed in (1, 2)]
    original, first, second = (tensor.clone() for tensor in (layer.weight.data, *(_delta(s, names[0]) for s in states)))
    deltas = {"": 0 * first, "a": 0.5 * first, "b": second}
    seen: list[str] = []

    def on_step(_: int) -> None:
        changed = layer.weight.data - original
        seen.extend(key for key, delta in deltas.items() if torch.allclose(changed, delta, atol=1e-6))

    motions = [Motion(states[0], 0.5, window=(0.0, 0.8)), Motion(states[1], 1.0, window=(0.2, 1.0))]
    session.generate("a red cat", 1, motions, turns=True, steps=5, guidance=1, on_step=on_step)
    assert seen == ["a", "b", "a", "b", "b"]
    assert torch.equal(layer.weight.data, original)


def _delta(state: LoraState, layer: str) -> torch.Tensor:
    A, B = pairs_of(state)[layer]
    return B @ A


@pytest.mark.slow
def test_motions_trained_on_different_timesteps_end_at_different_steps(session: Session) -> None:
    names = session.backbone.temporal_targets()
    layer: Any = session.backbone.denoiser.get_submodule(names[0])
    state = random_state(session.backbone, names, 1)
    deltas: list[float] = []
    original = layer.weight.data
    session.generate(
        "a red cat",
        1,
        [Motion(state, 1.0, 0.8), Motion(state, 0.5, 0.4)],
        steps=5,
        guidance=1,
        on_step=lambda _: deltas.append((layer.weight.data - original).norm().item()),
    )
    half = deltas[-3]  # at 999, 799, 599, 399, 199: both, the second, the second, none, none
    assert deltas == pytest.approx([3 * half, half, half, 0, 0])
    assert torch.equal(layer.weight.data, original)
