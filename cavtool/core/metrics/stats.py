"""Confidence intervals of measurements."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64], seed: int = 0, level: float = 0.95, num_draws: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean: (low, high)."""
    data = np.asarray(values, dtype=float)
    picks = np.random.default_rng(seed).integers(len(data), size=(num_draws, len(data)))
    low, high = np.quantile(data[picks].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_interval(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean of ours - theirs, pair by pair; they differ if it excludes 0."""
    return bootstrap_interval(np.subtract(ours, theirs), seed)
