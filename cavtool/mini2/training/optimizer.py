"""AdamW, or Muon for matrices and AdamW for the rest, as one optimizer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Not Muon's: first and last layers and embeddings; and queries and keys, whose products can grow under it until an
# attention sees a single token and learns no more (against which Kimi K2, 2025, has QK-clip).
_NOT_MUONS = ("conv_in", "conv_out", "embedding", "to_q", "to_k")
MUON_LR = 2.0  # times AdamW's


def whole(_name: str) -> float:
    """The learning rate as it is, for every parameter."""
    return 1.0


class Optimizer:
    """AdamW; with `muon`, Muon (Jordan et al. 2024) on hidden matrices and convolutions, flattened to (out, rest).

    torch's Muon takes matrices only, so it gets views that share storage with the convolutions. `lr_share` gives the
    share of the learning rate that a parameter has, by its name.
    """

    def __init__(self, model: nn.Module, lr: float, *, muon: bool, lr_share: Callable[[str], float] = whole) -> None:
        self._matrices: list[tuple[nn.Parameter, nn.Parameter]] = []
        self._by_lr: list[tuple[float, torch.optim.Optimizer]] = []
        named = [(name, param) for name, param in model.named_parameters() if param.requires_grad]
        for share in sorted({lr_share(name) for name, _ in named}):
            mine = [(name, param) for name, param in named if lr_share(name) == share]
            hidden = [p for name, p in mine if muon and p.ndim > 1 and not any(part in name for part in _NOT_MUONS)]
            chosen = {id(param) for param in hidden}
            rest = [param for _, param in mine if id(param) not in chosen]
            pairs = [(param, nn.Parameter(param.data.flatten(1))) for param in hidden]
            self._matrices += pairs
            views = [view for _, view in pairs]
            if rest:
                adamw = torch.optim.AdamW(rest, share * lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
                self._by_lr.append((share * lr, adamw))
            if views:
                faster = MUON_LR * share * lr
                of_views = torch.optim.Muon(views, faster, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
                self._by_lr.append((faster, of_views))

    def step(self, share: float) -> None:
        """One step at a share of the learning rate, after which the gradients are gone."""
        for param, view in self._matrices:
            view.grad = None if param.grad is None else param.grad.flatten(1)
            param.grad = None
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
