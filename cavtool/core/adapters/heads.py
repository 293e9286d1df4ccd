"""Attention heads that look across frames and heads that look within one, in models without temporal layers.

Follow-Your-Motion (arXiv 2506.05207) compares a head's attention to the query's own frame with its attention to the
query's own place in all frames. The motion then trains the temporal heads and the absorber the spatial ones: our
generalisation of Ren et al. 2024 to joint attention. Whether this separates motion from appearance on trained weights
has not been measured here: the tests use random weights, which cannot tell.

A mapping of heads has a mask (H,) for each attention layer, by the layer's name. Shapes: H heads, L tokens (P places of
the first frame, then of the second), F frames, D width of a head, Q queries.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

TEMPORAL_RATIO = 1.3  # of the attention across frames to that within a frame (Follow-Your-Motion's threshold)
_ROWS = {f"{projection}.lora_B.weight" for projection in "qkv"}
_COLUMNS = {"out.0.lora_A.weight"}

Heads = Mapping[str, Tensor]


def attention_shares(query_HLD: Tensor, key_HLD: Tensor, num_frames: int, queries_Q: Tensor) -> tuple[Tensor, Tensor]:
    """The shares of attention (H,) that go to the query's frame and to its place in all frames, means over queries.

    Its own token counts in both. `queries_Q` are the tokens to look at, a sample if there are too many of them.
    """
    num_places = key_HLD.shape[1] // num_frames
    scores_HQL = query_HLD[:, queries_Q].float() @ key_HLD.float().mT / key_HLD.shape[-1] ** 0.5
    attention_HQFP = scores_HQL.softmax(-1).unflatten(-1, (num_frames, num_places))
    each_Q = torch.arange(len(queries_Q), device=queries_Q.device)
    own_frame_HQP = attention_HQFP[:, each_Q, queries_Q // num_places]
    own_place_HQF = attention_HQFP[:, each_Q, :, queries_Q % num_places].movedim(0, 1)
    return own_frame_HQP.sum(-1).mean(-1), own_place_HQF.sum(-1).mean(-1)


def is_temporal(own_frame: Tensor, own_place: Tensor) -> Tensor:
    """Which heads look across frames, from their shares of attention."""
    return own_place >= TEMPORAL_RATIO * own_frame


def other_heads(heads: Heads) -> dict[str, Tensor]:
    """The heads that are not in the masks."""
    return {layer: ~mask_H for layer, mask_H in heads.items()}


def restrict(params: Mapping[str, nn.Parameter], heads: Heads) -> None:
    """Train a new LoRA on these heads only; layers that `heads` does not name are trained as a whole.

    For q, k and v the rows of `lora_B` that belong to other heads stay zero, for the output the columns of `lora_A`, so
    that the file is an ordinary LoRA. AdamW leaves a zero with a zero gradient unchanged, with weight decay too.
    Wan normalises q and k over all heads together, so that the other heads still change a little:
    `python -m tests.benchmarks.heads` measures how much.
    """
    for key, param in params.items():
        layer, _, part = key.rpartition(".to_")
        if layer not in heads or part not in _ROWS | _COLUMNS:
            continue
        dim = 0 if part in _ROWS else 1
        mask_H = heads[layer].to(param.device, param.dtype)
        mask = mask_H.repeat_interleave(param.shape[dim] // len(mask_H)).unsqueeze(1 - dim)
        param.data.mul_(mask)
        param.register_hook(mask.mul)  # type: ignore[no-untyped-call]
