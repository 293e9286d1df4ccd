"""Learned tokens (textual inversion, Gal et al. 2022). Shapes: N vectors, D width.

diffusers: `{"<token>": T}`, the only tensor of its file. A1111: `{"string_to_param": {"*": T}, …}`. kohya:
`{"emb_params": T}`. Ours: `{"token": T}`, with an S-LoRA in the same file or without. T is (N, D), or (D,) if N is 1.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cavtool.errors import IntegrityFailure

_KEYS = ("token", "emb_params")
_A1111 = "string_to_param"
_TOKEN = re.compile(r"<.+>|\*")  # the placeholder in prompts


def read(state: Mapping[str, Any]) -> tuple[Tensor | None, dict[str, Any]]:
    """The token (N, D) in fp32, None if there is none, and the entries that are not part of it.

    Raises IntegrityFailure if its shape is not that of a token.
    """
    if isinstance(learned := state.get(_A1111), Mapping):
        vectors = [value for value in learned.values() if isinstance(value, Tensor)]
        if len(vectors) == 1:  # the other entries of this layout describe the training
            return _token(vectors[0]), {}
    for key in _KEYS:
        if isinstance(state.get(key), Tensor):
            return _token(state[key]), {name: value for name, value in state.items() if name != key}
    if len(state) == 1:
        ((name, only),) = state.items()
        # A single vector must be named like a token; otherwise any file with one vector would pass.
        is_token = isinstance(only, Tensor) and (only.dim() == 2 or _TOKEN.fullmatch(name))
        if is_token and not name.endswith((".weight", ".bias")):
            return _token(only), {}
    return None, dict(state)


def _token(vectors: Tensor) -> Tensor:
    token_ND = vectors.detach().float()
    token_ND = token_ND.unsqueeze(0) if token_ND.dim() == 1 else token_ND
    if token_ND.dim() != 2 or not len(token_ND):
        message = f"a learned token has vectors of one width, and this one has shape {tuple(vectors.shape)}"
        raise IntegrityFailure(message, hint="give a file that holds a textual inversion")
    if not token_ND.isfinite().all():
        raise IntegrityFailure("the learned token holds NaN or infinity", hint="download or train it again")
    return token_ND
