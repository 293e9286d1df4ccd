"""Merging LoRAs into a denoiser's weights, and restoring the weights.

W' = W + s·BA (Ren et al. 2024, equation 2; Hu et al. 2021). Weights that are kept in 8 bits, or away from the
accelerator, cannot take the sum: s·BA is then computed separately.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from cavtool.core.adapters.lora import LoraState, check_fit, load_into, pairs_of, remove
from cavtool.core.adapters.mix import combine
from cavtool.core.backbones.memory import is_offloaded, is_quantized
from cavtool.errors import Incompatible

_BESIDE = "cav_beside"


@contextmanager
def merged(denoiser: nn.Module, states: Sequence[tuple[LoraState, float]]) -> Iterator[None]:
    """Within the context the weights are θ0 + Σ αᵢ BᵢAᵢ, computed in fp32.

    Afterwards the denoiser has its original tensors again. Raises Incompatible if a LoRA does not fit the denoiser.
    """
    if is_quantized(denoiser) or is_offloaded(denoiser):
        with _beside(denoiser, states):
            yield
        return
    originals: dict[str, Tensor] = {}
    try:
        for state, weight in states:
            pairs = pairs_of(state)
            check_fit(denoiser, pairs)
            for name, (A, B) in pairs.items():
                layer: Any = denoiser.get_submodule(name)
                original = originals.setdefault(name, layer.weight.data)
                delta = weight * (B.to(original.device).float() @ A.to(original.device).float())
                layer.weight.data = (layer.weight.data.float() + delta.view_as(original)).to(original.dtype)
        yield
    finally:
        for name, original in originals.items():
            layer = denoiser.get_submodule(name)
            layer.weight.data = original


@contextmanager
def _beside(denoiser: nn.Module, states: Sequence[tuple[LoraState, float]]) -> Iterator[None]:
    """Within the context the denoiser also computes the sum of the LoRAs; they are not merged."""
    if states:
        load_into(denoiser, _BESIDE, combine(states))
    try:
        yield
    finally:
        remove(denoiser, _BESIDE)


@contextmanager
def replaced(denoiser: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the context these parameters have other values; afterwards their original tensors again.

    Raises Incompatible for weights that are kept in 8 bits or away from the accelerator.
    """
    if weights and (is_quantized(denoiser) or is_offloaded(denoiser)):
        message = "a whole UNet as an absorber cannot be used with `--quantize` or `--offload`"
        raise Incompatible(message, hint="leave out the option, or use another kind of absorber")
    params, originals = dict(denoiser.named_parameters()), {}
    try:
        for name, value in weights.items():
            originals[name] = params[name].data
            params[name].data = value.to(originals[name])
        yield
    finally:
        for name, original in originals.items():
            params[name].data = original
