"""Video UNets of the ModelScope family (`UNet3DConditionModel`): cav-mini, ModelScope 1.7b, ZeroScope."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn


@contextmanager
def without_time(unet: nn.Module) -> Iterator[None]:
    """Bypass every layer that mixes frames: `transformer_in`, `temp_attentions` and `temp_convs` pass their input on.

    A one-frame clip is no bypass: upstream runs these layers whatever the number of frames. Stage 1 trains like this
    (Ren et al. 2024, section on appearance absorbers).
    """
    layers = [layer for layer in unet.modules() if isinstance(layer, (TransformerTemporalModel, TemporalConvLayer))]
    try:
        for layer in layers:
            layer.forward = _pass_on if isinstance(layer, TemporalConvLayer) else _pass_on_in_tuple
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)  # the class's own forward shows again


def _pass_on(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


def _pass_on_in_tuple(hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
    return (hidden_states,)
