"""Muon for matrices, AdamW for the rest, as one optimizer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_EDGES = ("conv_in", "conv_out", "embedding")  # first and last layers, and embeddings: not Muon's
MUON_LR = 2.0  # times AdamW's


class MuonAndAdamW:
    """Muon (Jordan et al. 2024) on hidden matrices and convolutions, flattened to (out, rest); AdamW on all else.

    torch's Muon takes matrices only, so it gets views that share storage with the convolutions.
    """

    def __init__(self, model: nn.Module, lr: float) -> None:
        named = [(name, param) for name, param in model.named_parameters() if param.requires_grad]
        hidden = [p for name, p in named if p.ndim > 1 and not any(edge in name for edge in _EDGES)]
        chosen = {id(param) for param in hidden}
        self.lr = lr
        self._matrices = [(param, nn.Parameter(param.data.flatten(1))) for param in hidden]
        views = [view for _, view in self._matrices]
        rest = [param for _, param in named if id(param) not in chosen]
        self._muon = torch.optim.Muon(views, MUON_LR * lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(rest, lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)

    def step(self, share: float) -> None:
        """One step at a share of the learning rate, after which the gradients are gone."""
        for param, view in self._matrices:
            view.grad = None if param.grad is None else param.grad.flatten(1)
        for optimizer, lr in ((self._muon, MUON_LR * self.lr), (self._adamw, self.lr)):
            for group in optimizer.param_groups:
                group["lr"] = share * lr
            optimizer.step()  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
        for param, _ in self._matrices:
            param.grad = None

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint keeps."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, object]]) -> None:
        """The reverse."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])


def average_into(average: dict[str, Tensor], values: dict[str, Tensor], names: Iterable[str], decay: float) -> None:
    """Exponential moving average of weights, in place."""
    torch._foreach_lerp_([average[name] for name in names], [values[name] for name in names], 1 - decay)
