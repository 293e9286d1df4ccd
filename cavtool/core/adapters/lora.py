"""LoRA on a denoiser: inject and extract with peft to train it, and its files; `merge.py` samples with it.

W' = W + s·BA (Ren et al. 2024, equation 2; Hu et al. 2021). Files hold PEFT's keys, `unet.<layer>.lora_A.weight`
(R, in) and `unet.<layer>.lora_B.weight` (out, R), with alpha = rank, so that s is the weight a user gives.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_save
from torch import Tensor, nn

from cavtool.errors import Incompatible, IntegrityFailure

_PREFIX = "unet."
_A, _B = ".lora_A.weight", ".lora_B.weight"

LoraState = dict[str, Tensor]


def inject(denoiser: nn.Module, name: str, targets: Sequence[str], rank: int, *, seed: int) -> dict[str, nn.Parameter]:
    """Add a trainable LoRA to the target layers, its A drawn from the seed, its B zero. All else keeps its grad flags.

    Returns its parameters in fp32 by file key.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    flags = {key: param.requires_grad for key, param in denoiser.named_parameters()}
    denoiser.__dict__.pop("peft_config", None)  # peft's list of adapters; ours are on layers of their own
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets), bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, denoiser, name)
    for layer in denoiser.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.set_adapter(list(layer.lora_A))  # peft makes the last one alone active
    params = _adapter_params(denoiser, name)
    mine = {id(param) for param in params.values()}
    for key, param in denoiser.named_parameters():
        param.requires_grad_(id(param) in mine or flags.get(key, False))
    for param in params.values():
        param.data = param.data.float()
    return params


def load_into(denoiser: nn.Module, name: str, state: LoraState) -> None:
    """Inject a LoRA and fill it with a file's weights, frozen. Raises Incompatible where it does not fit."""
    pairs = pairs_of(state)
    rank = next(iter(pairs.values()))[0].shape[0]
    check_fit(denoiser, pairs)
    params = inject(denoiser, name, list(pairs), rank, seed=0)
    for key, param in params.items():
        param.data.copy_(state[key])
        param.requires_grad_(False)


def extract(params: Mapping[str, nn.Parameter]) -> LoraState:
    """A file's tensors, fp32 on the CPU."""
    return {key: param.detach().float().cpu().clone() for key, param in params.items()}


def save(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file whose bytes, and so whose hash, the tensors and metadata alone decide.

    The library writes metadata in random order; the header's JSON is put into order, its length kept by spaces.
    """
    data = safetensors_save(dict(state), dict(metadata))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
    path.write_bytes(data[:8] + ordered + data[8 + length :])


def targets(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The layers a file's LoRA is on, sorted; none where it holds no LoRA."""
    return tuple(sorted(key[len(_PREFIX) : -len(_A)] for key in state if key.startswith(_PREFIX) and key.endswith(_A)))


def remove_all(denoiser: nn.Module) -> None:
    """Take every injected LoRA out; the base layers stay as they were."""
    from diffusers.utils.peft_utils import recurse_remove_peft_layers

    recurse_remove_peft_layers(denoiser)


def _adapter_params(denoiser: nn.Module, name: str) -> dict[str, nn.Parameter]:
    marker = f".{name}.weight"
    return {
        _PREFIX + key.replace(marker, ".weight"): param
        for key, param in denoiser.named_parameters()
        if key.endswith(marker)
    }


def pairs_of(state: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B by layer. Raises IntegrityFailure for a state without LoRA weights."""
    if not (names := targets(state)):
        raise IntegrityFailure("the file holds no LoRA weights")
    return {name: (state[_PREFIX + name + _A], state[_PREFIX + name + _B]) for name in names}


def check_fit(denoiser: nn.Module, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Raise Incompatible if a layer of a LoRA is not in the denoiser, or of another shape."""
    shapes = {name: tuple(param.shape) for name, param in denoiser.named_parameters()}
    for name, (A, B) in pairs.items():
        wanted = (B.shape[0], A.shape[1])
        found = shapes.get(f"{name}.weight") or shapes.get(f"{name}.base_layer.weight")
        if found != wanted:
            has = f"has it as {found}" if found else "has no such layer"
            raise Incompatible(f"the LoRA wants `{name}` of shape {wanted}, the model {has}")
