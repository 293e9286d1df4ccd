"""Clips longer than those of the model. Shapes: B batch, F frames, C channels, H W of latents, K frames of a window."""

import torch
from torch import Tensor

from cavtool.core.sampling import Predict


def windowed(predict: Predict, window: int) -> Predict:
    """A prediction for clips of any length, made of predictions for overlapping windows of `window` frames.

    At every step each frame gets the weighted mean of the predictions of all windows that contain it (Bar-Tal et al.
    2023, "MultiDiffusion", arXiv 2302.08113, here along time), so that the clip remains one tensor without a seam. Each
    window overlaps the next one by half or more, and counts most in its middle. A clip of one window or less is
    predicted as it is.
    """

    def predict_long(latents_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        num_frames = latents_BCFHW.shape[2]
        if num_frames <= window:
            return predict(latents_BCFHW, timesteps_B)
        weight_K11 = _triangle(window).to(latents_BCFHW.device)[:, None, None]
        total_BCFHW = torch.zeros_like(latents_BCFHW)
        weights_F11 = torch.zeros(num_frames, 1, 1, device=latents_BCFHW.device)
        for start in window_starts(num_frames, window):
            frames = slice(start, start + window)
            total_BCFHW[:, :, frames] += weight_K11 * predict(latents_BCFHW[:, :, frames], timesteps_B)
            weights_F11[frames] += weight_K11
        return total_BCFHW / weights_F11

    return predict_long


def window_starts(num_frames: int, window: int) -> list[int]:
    """The first frames of the windows: evenly spread, half a window apart or less, the last one at the clip's end."""
    last = num_frames - window
    if last <= 0:
        return [0]
    num_windows = 1 + -(-last // max(1, window // 2))
    return [round(float(start)) for start in torch.linspace(0, last, num_windows, dtype=torch.float64)]


def _triangle(window: int) -> Tensor:
    """Weights (K,) that rise by equal steps to the middle of a window and fall again."""
    rising_K = torch.arange(window) + 0.5
    return torch.minimum(rising_K, rising_K.flip(0))
