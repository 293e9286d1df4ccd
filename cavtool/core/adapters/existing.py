"""Absorbers that exist already, made here or by other tools (Ren et al. 2024, third-party absorbers).

Their state is that of `absorber.py`; a whole image UNet has its parameters in it under `weights.`. They are merged into
the weights of the base model for as long as they are in use. Shapes: N vectors of a learned token, D width.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import TOKEN
from cavtool.core.adapters.merge import merged, replaced
from cavtool.core.backbones.protocol import Backbone
from cavtool.core.formats import AbsorberFile
from cavtool.errors import Incompatible, InvalidInput

WEIGHTS = "weights."  # the prefix of the parameters of a whole UNet
DREAMBOOTH = "dreambooth"


def fit_absorber(
    backbone: Backbone, found: AbsorberFile, weight: float, *, name: str, model: str
) -> tuple[lora.LoraState, list[str]]:
    """The state of an absorber made elsewhere, its S-LoRA times `weight`, and the entries that do not fit.

    `name` and `model` are for messages. Raises Incompatible, with both shapes, if a part was made for another model or
    none fits; InvalidInput for a weight of something that has none.
    """
    params = dict(backbone.denoiser.named_parameters())
    shapes = {key: tuple(params[key].shape) for key in backbone.spatial_parameters()}
    loras, unused_loras = fit_loras(found.loras, shapes, weight, name, model)
    weights, unused_weights = _fit_weights(found, shapes, name, model)
    token = {} if found.token is None else {TOKEN: _fit_token(backbone, found.token, name, model)}
    state, unused = loras | weights | token, [*unused_loras, *unused_weights, *found.others]
    if not state:
        raise Incompatible(
            f"`{name}` fits no layer of `{model}` that works within a frame: it is for {first_few(unused)}",
            hint="an absorber must be made for the image model that the video model was built on",
        )
    if weight != 1 and not loras:
        what = "a learned token" if token else "a UNet"
        raise InvalidInput(f"`{name}` is {what}, which has no weight", hint=f"give it without `:{weight:g}`")
    return state, unused


def kind_of(state: lora.LoraState) -> str:
    """What an absorber is, by its state: dual, s-lora, textinv or dreambooth."""
    if any(key.startswith(WEIGHTS) for key in state):
        return DREAMBOOTH
    has_lora = bool(lora.targets(state))
    return "dual" if has_lora and TOKEN in state else "s-lora" if has_lora else "textinv"


def combine(states: Sequence[lora.LoraState]) -> lora.LoraState:
    """One state with the effect of several: LoRAs add up, tokens form a row. Raises InvalidInput for two UNets."""
    if sum(kind_of(state) == DREAMBOOTH for state in states) > 1:
        message = "only one UNet can stand in for that of the base model"
        raise InvalidInput(message, hint="give `--absorber` one folder at most")
    whole: lora.LoraState = {}
    for key, value in (item for state in states for item in state.items()):
        dim = 1 if key.endswith("lora_B.weight") else 0  # BA + B'A' = [B B'] [A; A']
        whole[key] = torch.cat([whole[key], value], dim) if key in whole else value
    return whole


@contextmanager
def applied(backbone: Backbone, state: lora.LoraState) -> Iterator[Tensor | None]:
    """Within the context the absorber, merged, is at work; yields its token for `encode_text`, None if it has none."""
    weights = {key.removeprefix(WEIGHTS): value for key, value in state.items() if key.startswith(WEIGHTS)}
    states = [(state, 1.0)] if lora.targets(state) else []
    with replaced(backbone.denoiser, weights), merged(backbone.denoiser, states):
        yield token_of([state], backbone)


def token_of(states: Sequence[lora.LoraState], backbone: Backbone) -> Tensor | None:
    """The tokens of all states in a row, on the backbone's device; None if there are none."""
    tokens = [state[TOKEN] for state in states if TOKEN in state]
    return torch.cat(tokens).to(backbone.device) if tokens else None


def first_few(entries: Sequence[str], num: int = 3) -> str:
    """The first few entries, in backticks."""
    return ", ".join(f"`{entry}`" for entry in entries[:num]) + (", …" if len(entries) > num else "")


def fit_loras(
    loras: Mapping[str, tuple[Tensor, Tensor]],
    shapes: Mapping[str, tuple[int, ...]],
    weight: float,
    name: str,
    model: str,
) -> tuple[lora.LoraState, list[str]]:
    """The LoRAs, times `weight`, by the layers of a model, and those that fit none; `shapes` are its parameters'.

    Dots and underscores in the names count the same. Raises Incompatible, with both shapes, for another base model.
    """
    layers = {key.removesuffix(".weight"): shape for key, shape in shapes.items() if key.endswith(".weight")}
    by_underscores = {layer.replace(".", "_"): layer for layer in layers}  # kohya's names
    state: lora.LoraState = {}
    unused = []
    for key, (A, B) in loras.items():
        layer = by_underscores.get(key.replace(".", "_"))
        if layer is None:
            unused.append(key)
            continue
        _check_shape(layer, (B.shape[0], A.shape[1]), _flattened(layers[layer]), name, model)
        state |= lora.state_of({layer: (A, B * weight)})
    return state, unused


def _fit_weights(
    found: AbsorberFile, shapes: dict[str, tuple[int, ...]], name: str, model: str
) -> tuple[lora.LoraState, list[str]]:
    unused = [key for key in found.weights if key not in shapes]
    used = {key: value for key, value in found.weights.items() if key in shapes}
    for key, value in used.items():
        _check_shape(key, tuple(value.shape), shapes[key], name, model)
    return {WEIGHTS + key: value for key, value in used.items()}, unused


def _fit_token(backbone: Backbone, token_ND: Tensor, name: str, model: str) -> Tensor:
    width = backbone.token_like("a", 1).shape[-1]
    if token_ND.shape[-1] != width:
        raise Incompatible(
            f"`{name}` has vectors of width {token_ND.shape[-1]}; those of `{model}` have width {width}",
            hint="a learned token must be made for the text encoder of the model",
        )
    return token_ND


def _check_shape(layer: str, shape: tuple[int, ...], of_model: tuple[int, ...], name: str, model: str) -> None:
    if shape != of_model:
        raise Incompatible(
            f"`{name}` was made for another base model: its `{layer}` has shape {shape}, that of `{model}` {of_model}",
            hint="Stable Diffusion 1.5 fits AnimateDiff, 2.1 fits ModelScope, and Wan fits Wan of the same size",
        )


def _flattened(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], math.prod(shape[1:]))
