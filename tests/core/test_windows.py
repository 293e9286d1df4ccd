"""Predictions for clips longer than the model's."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from cavtool.core.windows import window_starts, windowed

T = torch.tensor([500])


@pytest.mark.parametrize("num_frames", [1, 15, 16, 17, 24, 40, 41, 100])
def test_windows_cover_the_clip_and_overlap_by_half(num_frames: int) -> None:
    starts = window_starts(num_frames, 16)
    assert starts[0] == 0
    assert starts[-1] == max(0, num_frames - 16)
    assert all(0 < b - a <= 8 for a, b in pairwise(starts))


def test_a_clip_of_one_window_is_predicted_as_it_is() -> None:
    seen: list[Tensor] = []
    latents = torch.randn(1, 4, 16, 8, 8)
    windowed(lambda x, _: seen.append(x) or x, 16)(latents, T)  # type: ignore[func-returns-value]
    assert seen[0] is latents


def test_a_prediction_of_each_frame_alone_is_the_same_in_windows() -> None:
    latents = torch.randn(1, 4, 37, 8, 8)
    sizes: list[int] = []

    def predict(x: Tensor, _: Tensor) -> Tensor:
        sizes.append(x.shape[2])
        return x.sin()

    torch.testing.assert_close(windowed(predict, 16)(latents, T), latents.sin())
    assert set(sizes) == {16}


def test_windows_that_disagree_blend_without_a_jump() -> None:
    """Each window predicts its own number, 0, 1, 2, ...: from frame to frame the mean changes by a small part of it."""
    calls: list[int] = []

    def predict(x: Tensor, _: Tensor) -> Tensor:
        calls.append(1)
        return torch.full_like(x, float(len(calls)))

    blended_F = windowed(predict, 16)(torch.zeros(1, 1, 40, 1, 1), T).flatten()
    assert blended_F[[0, -1]].tolist() == [1, 4]
    assert float(blended_F.diff().abs().max()) == pytest.approx(1 / 8)
    assert bool((blended_F.diff() >= -1e-6).all())
