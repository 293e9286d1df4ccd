"""The stage that makes the text encoder: it learns what captions mean, and is frozen before the denoiser learns.

Real text-to-video models take a text encoder that knows what words mean. A small one that learns together with its
denoiser hardly tells "left" from "right", for the denoising loss hardly asks.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cavtool.core.diffusion import step_generator
from cavtool.mini2.training.data import Scenes
from cavtool.mini2.training.plans import SEED, Plan
from cavtool.mini2.training.stage import Stage

_CAPTIONS_A_STEP = 256


class Reader(nn.Module):
    """A text encoder, and heads that read a scene off the mean of its tokens; only the encoder is kept."""

    def __init__(self, text_encoder: Any, vocabulary: int, num_numbers: int) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        width = text_encoder.config.hidden_size
        self.moves = nn.Linear(width, num_numbers)
        self.said = nn.Linear(width, vocabulary)

    def loss(self, tokens_BL: Tensor, moves_BK: Tensor) -> Tensor:
        """How wrong it reads how all moves, and which words were said."""
        text_BD = self.text_encoder(tokens_BL)[0].mean(1)
        said_BV = torch.zeros(len(tokens_BL), self.said.out_features, device=tokens_BL.device).scatter_(1, tokens_BL, 1)
        missed = functional.binary_cross_entropy_with_logits(self.said(text_BD), said_BV, reduction="sum")
        return functional.smooth_l1_loss(self.moves(text_BD), moves_BK) + 0.05 * missed / len(tokens_BL)


def words_stage(plan: Plan, text_encoder: Any, clips: Scenes, device: str) -> Stage:
    """Read off a caption how everything moves in its clip, frame by frame, and which words it has."""
    moves_NK = (clips.controls - clips.controls.mean(1, keepdim=True)).flatten(1)
    reader = Reader(text_encoder, text_encoder.config.vocab_size, moves_NK.shape[1]).to(device)

    def loss_at(step: int) -> Tensor:
        picks = torch.randint(len(moves_NK), (_CAPTIONS_A_STEP,), generator=step_generator(SEED, step))
        return reader.loss(clips.tokens[picks].long().to(device), moves_NK[picks].to(device))

    return Stage("words", reader, plan.word_steps, 1e-3, loss_at, ema_decay=0.99)
