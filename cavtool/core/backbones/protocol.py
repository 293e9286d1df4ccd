"""What `cav` needs from a base model; a new family is one new file that provides it.

Shapes: B batch, F frames, C channels, H W of latents or pixels, L tokens, D width.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Conditioning = Any  # opaque to everyone but the backbone that made it
FramesFHWC = NDArray[np.uint8]


class Backbone(Protocol):
    """A text-to-video latent diffusion model, its parts loaded and ready."""

    denoiser: nn.Module
    device: str

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape (1, C, F, H, W) of the latents of one clip, sizes in pixels.

        Raises Incompatible if the model cannot process so many frames at once.
        """

    def encode_text(self, prompts: Sequence[str], token: Tensor | None = None) -> Conditioning:
        """Prompts to conditioning. A learned `token` (N, D) replaces `*` in a prompt; without a `*` it is appended."""

    def token_like(self, text: str, num_vectors: int) -> Tensor:
        """Initial value (num_vectors, D) of a learned token: the mean embedding of the text's words."""

    def encode(self, frames: FramesFHWC) -> Tensor:
        """Frames of one clip to scaled latents (1, C, F, H, W)."""

    def decode(self, latents_BCFHW: Tensor) -> FramesFHWC:
        """Latents of one clip back to its frames."""

    def predict(self, latents_BCFHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's prediction of `target`; a conditioning of one prompt serves the whole batch.

        Raises Incompatible if the model cannot process so many frames at once.
        """

    def add_noise(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noisy latents at these timesteps."""

    def target(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """What `predict` is trained to return for the noisy latents."""

    def scheduler(self) -> Any:
        """A fresh diffusers scheduler for sampling."""

    @property
    def num_train_timesteps(self) -> int:
        """Timesteps run from 0 up to, not including, this."""

    def temporal_targets(self) -> list[str]:
        """Names of the linear layers of all attention along time, inside `denoiser`."""

    def spatial_targets(self) -> list[str]:
        """Names of the linear layers of all attention within a frame."""

    def without_time(self) -> AbstractContextManager[None]:
        """Bypass every layer that mixes frames."""

    def unread(self, prompt: str) -> str:
        """The end of the prompt that does not fit the text encoder and is cut off; empty if all of it fits."""
