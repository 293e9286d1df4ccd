"""Apply memory options to an opened backbone.

Checkpointing covers all layers that a backbone names, those along time included: in diffusers, UNet3D checkpoints none
of them, and its switch raises.
"""

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import Any

import torch
from accelerate import cpu_offload
from torch import nn
from torch.utils.checkpoint import checkpoint

from cavtool.core.backbones.protocol import Backbone
from cavtool.errors import RequirementError
from cavtool.recipes import MemoryOptions, Quantize

COMPILER = "inductor"


def check_options(memory: MemoryOptions) -> None:
    """Raise RequirementError if an option needs a library that is not installed."""
    if memory.quantize is Quantize.EIGHT_BIT and find_spec("torchao") is None:
        raise RequirementError("`--quantize 8bit` needs torchao", hint="`pip install 'cavtool[quantize]'`")


def apply(backbone: Backbone, memory: MemoryOptions) -> None:
    """Place the denoiser on the backbone's device with these options, all decided; more can be applied later.

    The VAE and the text encoder go to the device when they are used. Raises RequirementError as `check_options` does.
    """
    denoiser = backbone.denoiser
    if memory.quantize is Quantize.EIGHT_BIT and not is_quantized(denoiser):
        check_options(memory)
        _quantize(denoiser)
    if memory.offload and not is_offloaded(denoiser):
        for layer in backbone.activation_layers():  # accelerate's hook would be lost with the forward it wraps
            set_checkpointing(layer, on=False)
        cpu_offload(denoiser, execution_device=torch.device(backbone.device))
    elif not memory.offload:
        denoiser.to(backbone.device)
    if memory.vae_tiling:
        backbone.vae.enable_tiling()
    for layer in backbone.activation_layers():
        set_checkpointing(layer, on=bool(memory.gradient_checkpointing))
    if memory.compile:
        is_called = type(denoiser).forward is not nn.Module.forward  # Wan's only holds its experts
        for module in [denoiser] if is_called else denoiser.children():
            module.compile(backend=COMPILER)


def is_quantized(denoiser: nn.Module) -> bool:
    """Whether some of its weights are kept in 8 bits, so that nothing can be merged into them."""
    return any(hasattr(param, "dequantize") and type(param.data) is not torch.Tensor for param in denoiser.parameters())


def is_offloaded(denoiser: nn.Module) -> bool:
    """Whether its weights are on the accelerator only while they are used, so that nothing can be merged into them."""
    return any(param.is_meta for param in denoiser.parameters())


def _quantize(denoiser: nn.Module) -> None:
    """Keep the weights of linear layers as 8-bit integers with a scale for each row."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(denoiser, Int8WeightOnlyConfig())


def set_checkpointing(layer: nn.Module, *, on: bool) -> None:
    """Compute the layer's activations again in the backward pass instead of keeping them, or stop doing so."""
    forward: Any = layer.forward
    usual: Callable[..., Any] = getattr(forward, "usual", forward)
    if not on:
        if usual is not forward:
            layer.forward = usual
        return

    @wraps(usual)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return usual(*args, **kwargs)
        return checkpoint(usual, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    checkpointed.usual = usual  # type: ignore[attr-defined]
    layer.forward = checkpointed
