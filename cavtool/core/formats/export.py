"""Motions and absorbers as LoRA files of other tools. The scale is in the weights: alpha equals the rank, or is absent.

Shapes: A (R, in), B (out, R), R rank; kernels of convolutions are flattened.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cavtool.core.adapters.absorber import TOKEN
from cavtool.core.adapters.lora import key_of, pairs_of, targets
from cavtool.core.formats import animatediff, wan
from cavtool.errors import Incompatible
from cavtool.recipes import Layout

_UNET = "unet"


@dataclass(frozen=True)
class LoraFile:
    """The tensors of one file, and what goes into its metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def write(state: Mapping[str, Tensor], layout: Layout, name: str) -> dict[str, LoraFile]:
    """The files by what is added to their names: nothing, `high_noise` and `low_noise` for two experts, or `token`.

    `name` is what prompts call a learned token. Raises Incompatible for layers that no tool reads in this layout,
    IntegrityFailure if there is nothing to write.
    """
    layers = targets(state)
    pairs = pairs_of(state) if layers or TOKEN not in state else {}
    experts = sorted({_part_of(layer) for layer in layers})
    files = {}
    for expert in experts:
        suffix = wan.SUFFIXES[expert] if len(experts) > 1 else ""
        files[suffix] = _file({key: pair for key, pair in pairs.items() if _part_of(key) == expert}, layout)
    if TOKEN in state and wan.HIGH_NOISE not in experts:
        key = f"<{name}>" if layout is Layout.DIFFUSERS else "emb_params"
        files["token" if files else ""] = LoraFile({key: state[TOKEN]}, {"format": "pt"})
    return files


def _part_of(layer: str) -> str:
    """The model in a pipeline that a layer belongs to."""
    return key_of(layer).partition(".")[0]


def _file(pairs: Mapping[str, tuple[Tensor, Tensor]], layout: Layout) -> LoraFile:
    if layout is Layout.DIFFUSERS:
        return _diffusers(pairs)
    is_wan = _part_of(next(iter(pairs))) != _UNET
    if layout is Layout.KOHYA:
        return _kohya(pairs, _musubi_name if is_wan else _kohya_name)
    if is_wan:
        names = {layer: f"diffusion_model.{wan.native_name(layer)}" for layer in pairs}
        return LoraFile(_tensors(pairs, names, ".lora_A.weight", ".lora_B.weight"), {"format": "pt"})
    temporal = [animatediff.is_temporal(layer) for layer in pairs]
    if any(temporal) and not all(temporal):
        message = "no tool reads LoRAs on layers along time and within a frame at once in this layout"
        raise Incompatible(message, hint="use `--format diffusers`")
    if any(temporal):
        names = {layer: animatediff.key_of(layer) for layer in pairs}
        return LoraFile(_tensors(pairs, names, "_lora.down.weight", "_lora.up.weight"), {"format": "pt"})
    return _kohya(pairs, _kohya_name)


def _diffusers(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> LoraFile:
    """PEFT's keys and metadata; the one expert in a file is called `transformer`, as `load_lora_weights` expects it.

    If the ranks differ there is no metadata: diffusers then takes them, and the alphas, from the matrices.
    """
    part = _UNET if _part_of(next(iter(pairs))) == _UNET else wan.HIGH_NOISE
    names = {layer: layer if part == _UNET else layer.partition(".")[2] for layer in pairs}
    metadata = {"format": "pt"}
    if len(ranks := {len(A) for A, _ in pairs.values()}) == 1:
        (rank,) = ranks
        spec = {"r": rank, "lora_alpha": rank, "target_modules": list(names.values())}
        metadata["lora_adapter_metadata"] = json.dumps({f"{part}.{key}": spec[key] for key in spec})
    keys = {layer: f"{part}.{name}" for layer, name in names.items()}
    pairs = {layer: _kernels(A, B) if ".temp_convs." in layer else (A, B) for layer, (A, B) in pairs.items()}
    return LoraFile(_tensors(pairs, keys, ".lora_A.weight", ".lora_B.weight"), metadata)


def _kernels(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices of a temporal convolution as kernels (R, in, 3, 1, 1) and (out, R, 1, 1, 1)."""
    return A.view(len(A), -1, 3, 1, 1), B.view(*B.shape, 1, 1, 1)


def _kohya(pairs: Mapping[str, tuple[Tensor, Tensor]], name_of: Callable[[str], str]) -> LoraFile:
    names = {layer: f"lora_unet_{name_of(layer)}" for layer in pairs}
    rank = str(max(len(A) for A, _ in pairs.values()))
    metadata = {"format": "pt", "ss_network_module": "networks.lora", "ss_network_dim": rank, "ss_network_alpha": rank}
    alphas = {f"{names[layer]}.alpha": torch.tensor(float(len(A))) for layer, (A, _) in pairs.items()}
    return LoraFile(_tensors(pairs, names, ".lora_down.weight", ".lora_up.weight") | alphas, metadata)


def _kohya_name(layer: str) -> str:
    if "temp_" in layer or "transformer_in" in layer or animatediff.is_temporal(layer):
        message = f"no tool reads LoRAs on layers along time, such as `{layer}`, in this layout"
        other = "`--format comfy`" if animatediff.is_temporal(layer) else "`--format diffusers`"
        raise Incompatible(message, hint=f"use {other}")
    return layer.replace(".", "_")


def _musubi_name(layer: str) -> str:
    return wan.native_name(layer).replace(".", "_")


def _tensors(
    pairs: Mapping[str, tuple[Tensor, Tensor]], names: Mapping[str, str], down: str, up: str
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for layer, (A, B) in pairs.items():
        tensors |= {names[layer] + down: A.contiguous(), names[layer] + up: B.contiguous()}
    return tensors
