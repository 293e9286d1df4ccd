"""Seeded randomness, drawn on the CPU so that every device gets the same numbers."""

import torch
from torch import Tensor


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of one training step, from the seed and the step's number alone: a resumed run draws the same."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def seeded_noise(shape: tuple[int, ...], seed: int, device: str) -> Tensor:
    """Standard normal noise of this shape, the start of sampling, determined by the seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
