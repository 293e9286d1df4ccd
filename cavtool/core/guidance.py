"""Combining predictions under several prompts into one."""

from torch import Tensor


def classifier_free(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """ε_u + s (ε_c - ε_u): classifier-free guidance (Ho & Salimans 2022) in the form in which s = 1 is no guidance."""
    return unconditional + scale * (conditional - unconditional)
