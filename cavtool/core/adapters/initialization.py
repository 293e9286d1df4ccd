"""Where a LoRA starts: with A in the directions in which the base model's weights would change most.

With A drawn at random, as usual, the first steps find out which inputs of a layer matter. Their directions are known
before: the leading right singular vectors of the gradient of the layer's weight (LoRA-GA, Wang et al. 2024). That
gradient itself is as large as the model, but for ΔW = BA and A = 0 the gradient of A is Bᵀ ∂L/∂W, a sketch of it by the
columns of a random B, whose rows span those directions (Halko, Martinsson and Tropp 2011). So the LoRA measures them
itself, whatever the base model's weights are stored as.
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from cavtool.core.adapters.heads import Heads, masks

_A, _B = "lora_A.weight", "lora_B.weight"
_ROW = 3**-0.5  # length of a row of A as peft draws it


def span_gradient(
    params: Mapping[str, nn.Parameter], add_gradients: Callable[[], None], *, seed: int, heads: Heads | None = None
) -> None:
    """Turn the rows of A of a new LoRA into orthogonal directions of the gradient of the weights; B stays 0.

    `add_gradients` adds the gradients of a few losses to the parameters'. With `heads` as in `restrict`, only their
    gradients count. Layers whose gradient is zero or not finite, and rows beyond a layer's width, stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    masked = masks(params, heads or {})
    begun = {key: param.detach().clone() for key, param in params.items()}
    for key, param in params.items():
        param.data.zero_()
        if key.endswith(_B):
            drawn = torch.randn(param.shape, generator=generator).to(param.device) / len(param) ** 0.5
            param.data.copy_(drawn * masked.get(key, 1.0))
    add_gradients()
    for key, param in params.items():
        gradient, param.grad = param.grad, None
        param.data.copy_(begun[key])
        if not key.endswith(_A) or gradient is None or not gradient.isfinite().all() or not gradient.any():
            continue
        # On the CPU, so that all processes of a training get the same.
        directions_RI = torch.linalg.svd(gradient.float().cpu(), full_matrices=False).Vh
        directions_RI = _ROW * directions_RI.to(param.device) * masked.get(key, 1.0)
        param.data[: len(directions_RI)] = directions_RI
