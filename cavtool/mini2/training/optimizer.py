"""AdamW, or Muon for matrices and AdamW for the rest, as one optimizer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from cavtool.core.devices import resolve_dtype

# Not Muon's: the UNet's first and last layers and embeddings; and queries and keys, whose products can grow under it
# until an attention sees a single token and learns no more (against which Kimi K2, 2025, has QK-clip).
_NOT_MUONS = ("conv_in", "conv_out", "embedding", "to_q", "to_k")
MUON_LR = 2.0  # times AdamW's


def whole(_name: str) -> float:
    """The learning rate as it is, for every parameter."""
    return 1.0


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024), as torch's is with `adjust_lr_fn="match_rms_adamw"`, but for three things.

    It takes convolutions too, flattened to (out, rest), and all matrices of one shape at once. On CPUs that are slow at
    bf16 it computes in fp32.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, *, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            params = [param for param in group["params"] if param.grad is not None]
            gradients = [param.grad for param in params]
            for param in params:
                if not self.state[param]:
                    self.state[param]["momentum_buffer"] = torch.zeros_like(param)
            buffers = [self.state[param]["momentum_buffer"] for param in params]
            torch._foreach_lerp_(buffers, gradients, 1 - momentum)
            torch._foreach_lerp_(gradients, buffers, momentum)
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
            for alike in _by_shape(params):
                updates_NXY = orthogonal(torch.stack([param.grad.flatten(1) for param in alike]))
                updates = [update.reshape(alike[0].shape) for update in updates_NXY]
                torch._foreach_add_(alike, updates, alpha=-lr * 0.2 * max(updates_NXY.shape[1:]) ** 0.5)


def _by_shape(params: list[Any]) -> list[list[Any]]:
    groups: dict[tuple[int, ...], list[Any]] = {}
    for param in params:
        groups.setdefault(tuple(param.shape), []).append(param)
    return list(groups.values())


def orthogonal(matrices_NXY: Tensor) -> Tensor:
    """Matrices with the same singular vectors and singular values near 1, by five Newton-Schulz iterations."""
    a, b, c = 3.4445, -4.775, 2.0315
    is_tall = matrices_NXY.shape[1] > matrices_NXY.shape[2]
    x = matrices_NXY.to(resolve_dtype("auto", matrices_NXY.device.type, training=True))
    x = x.mT if is_tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if is_tall else x).to(matrices_NXY.dtype)


class Optimizer:
    """AdamW; with `muon`, Muon on hidden matrices and convolutions.

    `lr_share` gives the share of the learning rate that a parameter has, by its name.
    """

    def __init__(self, model: nn.Module, lr: float, *, muon: bool, lr_share: Callable[[str], float] = whole) -> None:
        self._by_lr: list[tuple[float, torch.optim.Optimizer]] = []
        named = [(name, param) for name, param in model.named_parameters() if param.requires_grad]
        for share in sorted({lr_share(name) for name, _ in named}):
            mine = [(name, param) for name, param in named if lr_share(name) == share]
            hidden = [p for name, p in mine if muon and p.ndim > 1 and not any(part in name for part in _NOT_MUONS)]
            chosen = {id(param) for param in hidden}
            rest = [param for _, param in mine if id(param) not in chosen]
            if rest:
                adamw = torch.optim.AdamW(rest, share * lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
                self._by_lr.append((share * lr, adamw))
            if hidden:
                faster = MUON_LR * share * lr
                self._by_lr.append((faster, Muon(hidden, faster, weight_decay=0.01)))

    def step(self, share: float) -> None:
        """One step at a share of the learning rate, after which the gradients are gone."""
        for lr, optimizer in self._by_lr:
            for group in optimizer.param_groups:
                group["lr"] = share * lr
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> list[dict[str, Any]]:
        """What a checkpoint keeps."""
        return [optimizer.state_dict() for _, optimizer in self._by_lr]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """The reverse."""
        for (_, optimizer), state in zip(self._by_lr, states, strict=True):
            optimizer.load_state_dict(state)


def average_into(average: dict[str, Tensor], values: dict[str, Tensor], names: Iterable[str], decay: float) -> None:
    """Exponential moving average of weights, in place."""
    torch._foreach_lerp_([average[name] for name in names], [values[name] for name in names], 1 - decay)
