"""Prompts to T5 embeddings (UMT5 in Wan), with a learned token (textual inversion, Gal et al. 2022) among the words.

Shapes: B prompts, L tokens, D width, N vectors of a learned token.
"""

import html
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from cavtool.core.backbones.parts.text import learned_rows, word_ids
from cavtool.errors import Incompatible

MAX_TOKENS = 512  # of Wan's text, the end of the text included


def encode_prompts(tokenizer: Any, text_encoder: Any, prompts: Sequence[str], token_ND: Tensor | None) -> Tensor:
    """Embeddings (B, L, D), fp32, zero after the end of each prompt as Wan was trained.

    A learned token replaces `*` in a prompt; without a `*` it is appended. Raises Incompatible if it is too long.
    """
    num_vectors = 0 if token_ND is None else len(token_ND)
    first_id = text_encoder.config.vocab_size
    learned_ids = range(first_id, first_id + num_vectors)
    rows = [_ids(tokenizer, prompt, learned_ids) for prompt in prompts]
    ids_BL = torch.tensor([[*ids, *[tokenizer.pad_token_id] * (MAX_TOKENS - len(ids))] for ids in rows])
    is_text_BL = torch.arange(MAX_TOKENS) < torch.tensor([[len(ids)] for ids in rows])
    ids_BL, is_text_BL = ids_BL.to(text_encoder.device), is_text_BL.to(text_encoder.device)
    with nullcontext() if token_ND is None else learned_rows(text_encoder, token_ND):
        states_BLD: Tensor = text_encoder(ids_BL, is_text_BL.long()).last_hidden_state
    return states_BLD.float() * is_text_BL.unsqueeze(-1)


def truncated(tokenizer: Any, prompt: str) -> str:
    """The end of the prompt that does not fit and is cut off; empty if all of it fits."""
    return str(tokenizer.decode(word_ids(tokenizer, _clean(prompt))[MAX_TOKENS - 1 :])).strip()


def _ids(tokenizer: Any, prompt: str, learned_ids: Sequence[int]) -> list[int]:
    """Ids of the prompt and the learned vectors; words that do not fit are dropped, the vectors never are."""
    room = MAX_TOKENS - 1 - len(learned_ids)
    if room < 0:
        message = f"the learned tokens have {len(learned_ids)} vectors, and a prompt has room for {MAX_TOKENS - 1}"
        raise Incompatible(message, hint="use fewer learned tokens at once")
    if not learned_ids:
        return [*word_ids(tokenizer, _clean(prompt.replace("*", " ")))[:room], tokenizer.eos_token_id]
    before, after = (word_ids(tokenizer, _clean(part)) for part in prompt.partition("*")[::2])
    return [*before[:room], *learned_ids, *after[: max(0, room - len(before))], tokenizer.eos_token_id]


def _clean(prompt: str) -> str:
    """The prompt as `WanPipeline` passes it on: without HTML entities and repeated spaces."""
    return " ".join(html.unescape(html.unescape(prompt)).split())
