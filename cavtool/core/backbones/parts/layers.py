"""Finding and bypassing layers of a denoiser."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_PROJECTION = re.compile(r"\.attn\d\.to_(q|k|v|out\.0)$")
_CONVOLUTION = re.compile(r"conv\d\.\d")


def attention_projections(denoiser: nn.Module, kind: type[nn.Module]) -> list[str]:
    """Names of the q, k, v and out layers of all attention in modules of this kind, in module order."""
    owners = [name for name, module in denoiser.named_modules() if isinstance(module, kind)]
    names = [f"{owner}.{name}" for owner in owners for name, _ in denoiser.get_submodule(owner).named_modules()]
    return [name for name in names if _PROJECTION.search(name)]


def convolutions(denoiser: nn.Module, kind: type[nn.Module]) -> list[str]:
    """Names of the convolutions in modules of this kind, in module order, with an injected LoRA or without."""
    owners = [name for name, module in denoiser.named_modules() if isinstance(module, kind)]
    inside = [(owner, *layer) for owner in owners for layer in denoiser.get_submodule(owner).named_modules()]
    return [
        f"{owner}.{name}"
        for owner, name, layer in inside
        if _CONVOLUTION.fullmatch(name) and isinstance(getattr(layer, "base_layer", layer), nn.Conv3d)
    ]


def parameters_outside(denoiser: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[str]:
    """Names of the parameters that are in no module of these kinds, in module order."""
    inside = tuple(f"{name}." for name, module in denoiser.named_modules() if isinstance(module, kinds))
    return [name for name, _ in denoiser.named_parameters() if not name.startswith(inside)]


def layers_of(denoiser: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    """The modules of these kinds, in module order."""
    return [module for module in denoiser.modules() if isinstance(module, kinds)]


@contextmanager
def bypassed(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Give layers another forward, such as `unchanged`; their own is restored afterwards, also after an error."""
    before = {layer: layer.__dict__.get("forward") for layer in forwards}
    try:
        for layer, forward in forwards.items():
            layer.forward = forward
        yield
    finally:
        for layer, forward_before in before.items():
            layer.__dict__.pop("forward", None)  # uncovers the method of the class
            if forward_before is not None:
                layer.forward = forward_before


def unchanged(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    """A forward that returns its input."""
    return hidden_states
