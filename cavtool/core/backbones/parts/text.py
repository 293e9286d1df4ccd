"""Prompts to CLIP embeddings, with a learned token (textual inversion, Gal et al. 2022) among the words.

Shapes: B prompts, L tokens, D width, N vectors of a learned token.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cavtool.errors import Incompatible


def encode_prompts(tokenizer: Any, text_encoder: Any, prompts: Sequence[str], token_ND: Tensor | None) -> Tensor:
    """Embeddings (B, L, D), fp32. A learned token replaces `*` in a prompt; without a `*` it is appended."""
    if token_ND is None:
        return _encode_ids(text_encoder, _ids(tokenizer, [prompt.replace("*", " ") for prompt in prompts]))
    first_id = text_encoder.config.vocab_size
    learned_ids = range(first_id, first_id + len(token_ND))
    ids_BL = torch.stack([_ids_with_token(tokenizer, prompt, learned_ids) for prompt in prompts])
    with learned_rows(text_encoder, token_ND):
        return _encode_ids(text_encoder, ids_BL)


def mean_embedding(tokenizer: Any, text_encoder: Any, text: str) -> Tensor:
    """The mean (1, D) of the embeddings of the text's words; of an empty text, the embedding of "a"."""
    table = text_encoder.get_input_embeddings()
    ids_L = torch.tensor(word_ids(tokenizer, text) or word_ids(tokenizer, "a"), device=table.weight.device)
    rows_LD: Tensor = table(ids_L)
    return rows_LD.detach().float().mean(0, keepdim=True)


def truncated(tokenizer: Any, prompt: str) -> str:
    """The end of the prompt that does not fit the text encoder and is cut off; empty if all of it fits."""
    return str(tokenizer.decode(word_ids(tokenizer, prompt)[tokenizer.model_max_length - 2 :])).strip()


def _encode_ids(text_encoder: Any, ids_BL: Tensor) -> Tensor:
    states_BLD: Tensor = text_encoder(ids_BL.to(text_encoder.device))[0]
    return states_BLD.float()


def _ids(tokenizer: Any, prompts: list[str]) -> Tensor:
    length = tokenizer.model_max_length
    ids = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return torch.as_tensor(ids.input_ids)


def _ids_with_token(tokenizer: Any, prompt: str, learned_ids: Sequence[int]) -> Tensor:
    """Ids (L,) of the prompt and the learned vectors; words that do not fit are dropped, the vectors never are."""
    length = tokenizer.model_max_length
    room = length - 2 - len(learned_ids)
    if room < 0:
        message = f"the learned tokens have {len(learned_ids)} vectors, and a prompt has room for {length - 2}"
        raise Incompatible(message, hint="use fewer learned tokens at once")
    before, after = (word_ids(tokenizer, part) for part in prompt.partition("*")[::2])
    inner = [*before[:room], *learned_ids, *after[: max(0, room - len(before))]]
    ids = [tokenizer.bos_token_id, *inner, tokenizer.eos_token_id]
    return torch.tensor([*ids, *[tokenizer.pad_token_id] * (length - len(ids))])


def word_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of the text's words, without those that mark its start and end."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


@contextmanager
def learned_rows(text_encoder: Any, token_ND: Tensor) -> Iterator[None]:
    """Map the ids just past the end of the vocabulary to the rows of `token_ND`; the model's table is not changed."""
    table = text_encoder.get_input_embeddings()
    text_encoder.set_input_embeddings(_LongerTable(table, token_ND))
    try:
        yield
    finally:
        text_encoder.set_input_embeddings(table)


class _LongerTable(nn.Module):
    def __init__(self, table: nn.Embedding, token_ND: Tensor) -> None:
        super().__init__()
        self.table, self.token_ND = table, token_ND

    def forward(self, ids_BL: Tensor) -> Tensor:
        end = self.table.num_embeddings
        rows_BLD: Tensor = self.table(ids_BL.clamp(max=end - 1))
        learned_BLD = self.token_ND.to(rows_BLD.dtype)[(ids_BL - end).clamp(min=0)]
        return torch.where((ids_BL >= end).unsqueeze(-1), learned_BLD, rows_BLD)
