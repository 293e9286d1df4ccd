"""LoRA on a denoiser: inject it with peft to train it, extract it, save it. `merge.py` applies it for sampling.

W' = W + s·BA (Ren et al. 2024, equation 2; Hu et al. 2021). Files hold PEFT's keys, `unet.<layer>.lora_A.weight`
(R, in) and `unet.<layer>.lora_B.weight` (out, R), with alpha = rank, so that s is the weight a user gives. The kernels
of convolutions are flattened. In place of `unet`, keys of a transformer (Wan) begin with `transformer` or
`transformer_2`, which are part of the layer's name.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_save
from torch import Tensor, nn

from cavtool.errors import Incompatible, IntegrityFailure

_UNET = "unet."
_TRANSFORMERS = ("transformer.", "transformer_2.")
_A, _B = ".lora_A.weight", ".lora_B.weight"

LoraState = dict[str, Tensor]


def inject(denoiser: nn.Module, name: str, targets: Sequence[str], rank: int, *, seed: int) -> dict[str, nn.Parameter]:
    """Add a trainable LoRA to the target layers: A random from the seed, B zero. Other parameters keep `requires_grad`.

    Returns the new parameters, fp32, by their key in a file.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    flags = {key: param.requires_grad for key, param in denoiser.named_parameters()}
    denoiser.__dict__.pop("peft_config", None)  # or peft warns of a second adapter in one model
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets), bias="none")
    with torch.random.fork_rng(devices=[]), _with_storage(denoiser, targets):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, denoiser, name)
    for layer in denoiser.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.set_adapter(list(layer.lora_A))  # peft activates the last one only
    params = _adapter_params(denoiser, name)
    added = {id(param) for param in params.values()}
    for key, param in denoiser.named_parameters():
        param.requires_grad_(id(param) in added or flags.get(key, False))
    device = execution_device(denoiser)
    for param in params.values():
        param.data = param.data.to(device, torch.float32)
    return params


def load_into(denoiser: nn.Module, name: str, state: LoraState) -> None:
    """Inject a LoRA with the weights of a file, frozen. Raises Incompatible if it does not fit the denoiser."""
    pairs = pairs_of(state)
    rank = next(iter(pairs.values()))[0].shape[0]
    check_fit(denoiser, pairs)
    params = inject(denoiser, name, list(pairs), rank, seed=0)
    for key, param in params.items():
        param.data.copy_(state[key].view_as(param))
        param.requires_grad_(False)


def extract(params: Mapping[str, Tensor]) -> LoraState:
    """The parameters as the tensors of a file: fp32, on the CPU."""
    return {key: param.detach().float().cpu().flatten(1).clone() for key, param in params.items()}


def save(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; equal tensors and metadata always give the same bytes, and so the same checksum.

    The library writes metadata in random order. Here it is sorted and the header padded to its length.
    """
    data = safetensors_save(dict(state), dict(metadata))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
    path.write_bytes(data[:8] + ordered + data[8 + length :])


def targets(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The layers that a file's LoRA changes, sorted; empty if it holds no LoRA."""
    keys = (key.removesuffix(_A) for key in state if key.startswith((_UNET, *_TRANSFORMERS)) and key.endswith(_A))
    return tuple(sorted(key.removeprefix(_UNET) for key in keys))


def key_of(layer: str) -> str:
    """The name of a layer in the keys of a file: with the name of its model in front, as diffusers expects it."""
    return layer if layer.startswith(_TRANSFORMERS) else _UNET + layer


@contextmanager
def switched_off(denoiser: nn.Module, *names: str) -> Iterator[None]:
    """Within the context the injected LoRAs of these names have no effect."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [each for each in denoiser.modules() if isinstance(each, BaseTunerLayer)]
    scalings = [
        (layer.scaling, name, layer.scaling[name]) for layer in layers for name in names if name in layer.scaling
    ]
    try:
        for scaling, name, _ in scalings:
            scaling[name] = 0.0
        yield
    finally:
        for scaling, name, before in scalings:
            scaling[name] = before


@contextmanager
def _with_storage(denoiser: nn.Module, targets: Sequence[str]) -> Iterator[None]:
    """Within the context the weights of offloaded layers are on the CPU, where peft then creates those of the LoRA.

    Each is a view of a single zero, which takes no memory.
    """
    layers = [denoiser.get_submodule(name) for name in targets]
    offloaded = [layer for layer in layers if isinstance(layer.weight, Tensor) and layer.weight.is_meta]
    owners: list[Any] = [getattr(layer, "base_layer", layer) for layer in offloaded]
    before = [owner.weight for owner in owners]
    try:
        for owner, weight in zip(owners, before, strict=True):
            stored = torch.zeros(1, dtype=weight.dtype).expand(weight.shape)
            owner.weight = nn.Parameter(stored, requires_grad=False)
        yield
    finally:
        for owner, weight in zip(owners, before, strict=True):
            owner.weight = weight


def execution_device(denoiser: nn.Module) -> torch.device:
    """The device on which the denoiser computes; its weights may be elsewhere, with a hook of accelerate."""
    hooks = (getattr(module, "_hf_hook", None) for module in denoiser.modules())
    devices = (device for hook in hooks if (device := getattr(hook, "execution_device", None)) is not None)
    return torch.device(next(devices, next(denoiser.parameters()).device))


def remove(denoiser: nn.Module, name: str) -> None:
    """Remove the injected LoRA of this name, if there is one; others stay."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [(key, layer) for key, layer in denoiser.named_modules() if isinstance(layer, BaseTunerLayer)]
    for key, layer in layers:
        if name in layer.lora_A:
            layer.delete_adapter(name)
        if not layer.lora_A:
            denoiser.set_submodule(key, layer.get_base_layer())


def remove_all(denoiser: nn.Module) -> None:
    """Remove every injected LoRA; the base layers keep their weights."""
    from diffusers.utils.peft_utils import recurse_remove_peft_layers

    recurse_remove_peft_layers(denoiser)


def _adapter_params(denoiser: nn.Module, name: str) -> dict[str, nn.Parameter]:
    marker = f".{name}.weight"
    return {
        key_of(key.replace(marker, ".weight")): param
        for key, param in denoiser.named_parameters()
        if key.endswith(marker)
    }


def pairs_of(state: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """The matrices A and B by layer. Raises IntegrityFailure if there are none, or if two do not fit each other."""
    if not (names := targets(state)):
        raise IntegrityFailure("the file holds no LoRA weights")
    pairs = {name: (state.get(key_of(name) + _A), state.get(key_of(name) + _B)) for name in names}
    return {name: _fitting(name, A, B) for name, (A, B) in pairs.items()}


def state_of(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> LoraState:
    """The tensors of a file from the matrices A and B by layer: the inverse of `pairs_of`."""
    state: LoraState = {}
    for name, (A, B) in pairs.items():
        state |= {key_of(name) + _A: A, key_of(name) + _B: B}
    return state


def _fitting(name: str, A: Tensor | None, B: Tensor | None) -> tuple[Tensor, Tensor]:
    if A is None or B is None or A.ndim != 2 or B.ndim != 2 or len(A) != B.shape[1]:
        raise IntegrityFailure(f"the file holds a damaged LoRA: the matrices of `{name}` do not fit each other")
    return A, B


def check_fit(denoiser: nn.Module, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Raise Incompatible if the denoiser lacks a layer of the LoRA or has it with another shape.

    The kernels of a convolution count as flattened, (out, in · size of a kernel).
    """
    shapes = {name: tuple(param.flatten(1).shape) for name, param in denoiser.named_parameters() if param.dim() > 1}
    for name, (A, B) in pairs.items():
        required = (B.shape[0], A.shape[1])
        found = shapes.get(f"{name}.weight") or shapes.get(f"{name}.base_layer.weight")
        if found != required:
            problem = f"has it with shape {found}" if found else "does not have it"
            raise Incompatible(f"the LoRA is for a layer `{name}` of shape {required}; the model {problem}")
