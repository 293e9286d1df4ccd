from typing import Any

import pytest
import torch

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
