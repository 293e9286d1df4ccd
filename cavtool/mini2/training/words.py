"""The stage that makes the text encoder: it learns what captions mean, and is frozen before the denoiser learns.

Real text-to-video models take a text encoder that knows what words mean. A small one that learns together with its
denoiser hardly tells "left" from "right", because the denoising loss depends little on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cavtool.core.noise import step_generator
from cavtool.mini2.training.architecture import to_tokens
from cavtool.mini2.training.data import render_pool
from cavtool.mini2.training.plans import CLIP_SEEDS, SEED, Plan
from cavtool.mini2.training.rendering import CONTROLS, moves_of
from cavtool.mini2.training.stage import Stage
from cavtool.mini2.world.sampling import sample_scene
from cavtool.mini2.world.scenes import NUM_FRAMES

_CAPTIONS_A_STEP = 256


def draw_caption(seed: int) -> tuple[str, NDArray[np.float32]]:
    """A clip's caption, and how everything moves in it (F, 11)."""
    scene = sample_scene(seed)
    return scene.caption, moves_of(scene)


@dataclass(frozen=True)
class Captions:
    """Captions of clips as `tokens` (N, L), and how everything `moves` in each (N, F, 11), in usual distances."""

    tokens: Tensor
    moves: Tensor


def make_captions(plan: Plan, tokenizer: Any, device: str) -> Captions:
    """The captions of the first clips that the denoiser will see, without the clips."""
    with render_pool(device) as pool:
        captions, moves = zip(*pool.map(draw_caption, range(CLIP_SEEDS, CLIP_SEEDS + plan.num_captions)), strict=True)
    return Captions(to_tokens(tokenizer, list(captions)).to(device), torch.from_numpy(np.stack(moves)).to(device))


class Reader(nn.Module):
    """A text encoder, and heads that predict a scene from the mean of its tokens; only the encoder is kept."""

    def __init__(self, text_encoder: Any, vocabulary: int, num_numbers: int) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        width = text_encoder.config.hidden_size
        self.control_head = nn.Linear(width, num_numbers)
        self.word_head = nn.Linear(width, vocabulary)

    def loss(self, tokens_BL: Tensor, moves_BK: Tensor) -> Tensor:
        """The loss of the predicted controls and of the predicted words."""
        text_BD = self.text_encoder(tokens_BL)[0].mean(1)
        logits_BV = self.word_head(text_BD)
        said_BV = torch.zeros_like(logits_BV).scatter_(1, tokens_BL, 1)
        missed = functional.binary_cross_entropy_with_logits(logits_BV, said_BV, reduction="sum")
        return functional.smooth_l1_loss(self.control_head(text_BD), moves_BK) + 0.05 * missed / len(tokens_BL)


def words_stage(plan: Plan, text_encoder: Any, captions: Callable[[], Captions], device: str) -> Stage:
    """Read off a caption how everything moves in its clip, frame by frame, and which words it has."""
    reader = Reader(text_encoder, text_encoder.config.vocab_size, NUM_FRAMES * len(CONTROLS)).to(device)

    def loss_at(draw: int) -> Tensor:
        tokens_NL, moves_NFK = captions().tokens, captions().moves
        picks = torch.randint(len(moves_NFK), (_CAPTIONS_A_STEP,), generator=step_generator(SEED, draw)).to(device)
        return reader.loss(tokens_NL[picks], moves_NFK[picks].flatten(1))

    return Stage("words", reader, plan.word_steps, 1e-3, loss_at, ema_decay=0.99)
