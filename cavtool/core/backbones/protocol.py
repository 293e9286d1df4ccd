"""The interface of a base model; a new family is one new file that implements it.

Shapes: B batch, F frames, N single frames, C channels, H W of latents or pixels, L tokens, D width.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Conditioning = Any  # opaque to everyone but the backbone that made it
FramesFHWC = NDArray[np.uint8]
Part = Literal["vae", "text_encoder"]


class Backbone(Protocol):
    """A text-to-video latent diffusion model, its parts loaded and ready."""

    denoiser: nn.Module
    vae: Any
    device: str
    dtype: torch.dtype  # computations are autocast to it; it may be changed

    # Text

    def encode_text(self, prompts: Sequence[str], token: Tensor | None = None) -> Conditioning:
        """Prompts to conditioning. A learned `token` (N, D) replaces `*` in a prompt; without a `*` it is appended.

        The conditioning carries gradients to the token if the token requires them, and no graph otherwise.
        """

    def token_like(self, text: str, num_vectors: int) -> Tensor:
        """Initial value (num_vectors, D) of a learned token: the mean embedding of the text's words."""

    def truncated(self, prompt: str) -> str:
        """The end of the prompt that does not fit the text encoder and is cut off; empty if all of it fits."""

    # Pixels

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape (1, C, F, H, W) of the latents of one clip, sizes in pixels.

        Raises Incompatible if the model cannot process so many frames at once.
        """

    def encode_clip(self, frames: FramesFHWC) -> Tensor:
        """Frames of one clip to scaled latents (1, C, F, H, W)."""

    def encode_stills(self, frames: FramesFHWC) -> Tensor:
        """Every frame to the scaled latents of a clip of one frame: (N, C, 1, H, W)."""

    def decode(self, latents_BCFHW: Tensor) -> FramesFHWC:
        """Latents of one clip back to its frames."""

    # Diffusion

    def first_timestep(self, noise_from: float) -> int:
        """The timestep at the share `noise_from` in [0, 1) of the schedule, from clean (0) to pure noise (1)."""

    def draw_timesteps(self, generator: torch.Generator, count: int, noise_from: float = 0.0) -> Tensor:
        """Random training timesteps (count,) on the device, none less noisy than `first_timestep(noise_from)`."""

    def add_noise(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noisy latents at these timesteps."""

    def target(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The value that `predict` is trained to return for the noisy latents."""

    def predict(self, latents_BCFHW: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's prediction of `target`; a conditioning of one prompt serves the whole batch.

        Raises Incompatible if the model cannot process so many frames at once.
        """

    def predict_guided(
        self,
        latents_BCFHW: Tensor,
        timesteps_B: Tensor,
        positive: Conditioning,
        negative: Conditioning,
        guidance_scale: float,
    ) -> Tensor:
        """The prediction with classifier-free guidance; at scale 1 that of `positive` alone, without the cost.

        Raises Incompatible if the model cannot process so many frames at once.
        """

    def scheduler(self, *, invertible: bool = False) -> Any:
        """A fresh diffusers scheduler for sampling.

        Each step of an `invertible` one depends on its latents and prediction alone, so that inversion can undo it.
        """

    @property
    def expert_boundary(self) -> float:
        """The share of the schedule from which on another denoiser works than below it; 0 if there is one denoiser."""

    # Layers

    def temporal_targets(self) -> list[str]:
        """Names of the layers along time that a motion trains, inside `denoiser`: linear ones and convolutions."""

    def spatial_targets(self) -> list[str]:
        """Names of the linear layers of all attention within a frame."""

    def spatial_parameters(self) -> list[str]:
        """Names of the parameters of all layers that do not mix frames, those of an image model."""

    def without_time(self) -> AbstractContextManager[None]:
        """Bypass every layer that mixes frames; with joint attention, each frame is processed as a clip of its own."""

    def feature_layers(self) -> list[nn.Module]:
        """A layer in the middle of each denoiser, whose output (N, D, H, W) or (N, H * W, D) says what is where."""

    def classify_heads(self, latents_BCFHW: Tensor, prompt: str) -> dict[str, Tensor]:
        """Which heads (H,) look across frames, by attention layer; {} for families with temporal layers.

        `core.adapters.heads.restrict` takes the result.
        """

    # Memory

    def activation_layers(self) -> list[nn.Module]:
        """The layers whose activations gradient checkpointing computes again, in `denoiser`."""

    def release(self, part: Part) -> None:
        """Move a part that is not needed for now off the accelerator; it returns when it is next used."""
