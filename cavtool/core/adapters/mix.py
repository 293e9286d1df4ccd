"""Several LoRAs as one: their weighted sum, exactly or at a lower rank.

Shapes: A (R, in) and B (out, R) are the factors of one layer; R is the rank.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from cavtool.core.adapters.lora import LoraState, pairs_of, state_of
from cavtool.errors import Incompatible, InvalidInput

_LARGEST = 100.0  # change of a weight: those of models are below 10
Factors = tuple[Tensor, Tensor]


def combine(states: Sequence[tuple[LoraState, float]]) -> LoraState:
    """The LoRA that equals Σ αᵢ BᵢAᵢ (Ren et al. 2024, several T-LoRAs): A stacked, weighted B side by side; fp32.

    Its rank is the sum of the ranks. A layer that some of them lack is padded with zeros to that rank. Raises
    Incompatible if a layer has different shapes, InvalidInput if a weighted matrix is not finite.
    """
    weighted = [(pairs_of(state), weight) for state, weight in states]
    layers = sorted({name for pairs, _ in weighted for name in pairs})
    parts = {name: [(*pairs[name], weight) for pairs, weight in weighted if name in pairs] for name in layers}
    return _saved({name: _concatenated(name, each) for name, each in parts.items()})


def truncate(state: LoraState, rank: int) -> tuple[LoraState, float]:
    """The best approximation of a LoRA at a lower rank, and its relative Frobenius error over all layers.

    Each layer is the truncated SVD of BA (Eckart & Young 1936), computed in fp64 from the factors alone: with
    B = Q_B R_B and Aᵀ = Q_A R_A, only the small matrix R_B R_Aᵀ is decomposed. The error is ‖BA - B'A'‖ / ‖BA‖, 0 if
    BA is 0.
    """
    truncated: dict[str, Factors] = {}
    lost = total = 0.0
    for name, (A, B) in pairs_of(state).items():
        U, S, Vh = _svd(A.double(), B.double())
        root = S[:rank].sqrt()
        truncated[name] = (root[:, None] * Vh[:rank], U[:, :rank] * root)
        lost += float(S[rank:].square().sum())
        total += float(S.square().sum())
    return _saved(truncated, rank), (lost / total) ** 0.5 if total else 0.0


def rank_of(state: LoraState) -> int:
    """The largest rank of a layer."""
    return max(len(A) for A, _ in pairs_of(state).values())


def _concatenated(name: str, parts: Sequence[tuple[Tensor, Tensor, float]]) -> Factors:
    shapes = sorted({(B.shape[0], A.shape[1]) for A, B, _ in parts})
    if len(shapes) > 1:
        raise Incompatible(f"the motions have the layer `{name}` with different shapes: {shapes[0]} and {shapes[1]}")
    A, B = torch.cat([A.double() for A, _, _ in parts]), torch.cat([w * B.double() for _, B, w in parts], 1)
    if not (A.float().isfinite().all() and B.float().isfinite().all()):
        raise InvalidInput("the mix is not finite", hint="use smaller weights; if they are small, a motion is damaged")
    if not (B.float() @ A.float()).abs().max() < _LARGEST:
        message = "the mix is so strong that every video with it would be black"
        raise InvalidInput(message, hint="use smaller weights; if they are small, a motion is damaged")
    return A, B


def _svd(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The SVD of BA: U (out, K), S (K,) and Vh (K, in), where K is at most R, out and in."""
    Q_B, R_B = torch.linalg.qr(B)
    Q_A, R_A = torch.linalg.qr(A.T)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T, full_matrices=False)
    return Q_B @ U, S, Vh @ Q_A.T


def _saved(factors: Mapping[str, Factors], rank: int | None = None) -> LoraState:
    """The tensors of a file, fp32, every layer padded with zeros to one rank: that of the largest unless given."""
    rank = rank or max(len(A) for A, _ in factors.values())
    padded = {name: (pad(A, (0, 0, 0, rank - len(A))), pad(B, (0, rank - len(A)))) for name, (A, B) in factors.items()}
    return state_of({name: (A.float().contiguous(), B.float().contiguous()) for name, (A, B) in padded.items()})
