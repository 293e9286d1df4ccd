"""The base class of the families of video UNets: a CLIP text encoder, an image VAE and a DDIM schedule.

Shapes: B batch, F frames, C channels, H W of latents or pixels, L tokens, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from cavtool.core.backbones.parts.layers import attention_projections
from cavtool.core.backbones.parts.loading import explain_load_errors, load_model
from cavtool.core.backbones.parts.noise import load_scheduler, training_target
from cavtool.core.backbones.parts.text import encode_prompts, mean_embedding, truncated
from cavtool.core.backbones.parts.vae import decode_latents, downscale_factor, encode_frames, encode_stills, load_vae
from cavtool.core.backbones.protocol import FramesFHWC, Part
from cavtool.core.guidance import classifier_free


class UNetBackbone(ABC):
    """A pipeline folder opened for training and sampling; a family adds its UNet and how that UNet handles time.

    On the CPU weights are kept in fp32, on an accelerator in `dtype`. Computations are autocast to `dtype`. All weights
    are loaded on the CPU; `memory.apply` places those of the denoiser.
    """

    def __init__(self, folder: Path, *, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        stored = torch.float32 if device == "cpu" else dtype
        self.vae = load_vae(folder / "vae", stored)
        self.denoiser = self._load_denoiser(folder, stored)
        self.text_encoder = load_model(CLIPTextModel, folder / "text_encoder", stored)
        with explain_load_errors(folder / "tokenizer"):
            self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self._scheduler_folder = folder / "scheduler"
        self._noise: Any = self.scheduler()
        if device == "cpu":
            self.denoiser.set_attn_processor(AttnProcessor())  # SDPA is slow on thousands of short sequences

    @staticmethod
    @abstractmethod
    def _load_denoiser(folder: Path, dtype: torch.dtype) -> Any:
        """The UNet of the pipeline folder, frozen."""

    # Text

    def encode_text(self, prompts: Sequence[str], token: Tensor | None = None) -> Tensor:
        """Prompts to (B, L, D). A learned `token` (N, D) replaces `*` in a prompt; without a `*` it is appended."""
        with self._autocast():
            return encode_prompts(self.tokenizer, self.text_encoder.to(self.device), prompts, token)

    def token_like(self, text: str, num_vectors: int) -> Tensor:
        """Initial value (num_vectors, D) of a learned token: the mean embedding of the text's words."""
        return mean_embedding(self.tokenizer, self.text_encoder.to(self.device), text).repeat(num_vectors, 1)

    def truncated(self, prompt: str) -> str:
        """The end of the prompt that does not fit the text encoder and is cut off; empty if all of it fits."""
        return truncated(self.tokenizer, prompt)

    # Pixels

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape (1, C, F, H, W) of the latents of one clip, sizes in pixels."""
        factor = downscale_factor(self.vae)
        return 1, self.denoiser.config["in_channels"], num_frames, height // factor, width // factor

    def encode_clip(self, frames: FramesFHWC) -> Tensor:
        """Frames of one clip to scaled latents (1, C, F, H, W)."""
        return encode_frames(self.vae.to(self.device), frames)

    def encode_stills(self, frames: FramesFHWC) -> Tensor:
        """Every frame to the scaled latents of a clip of one frame: (N, C, 1, H, W)."""
        return encode_stills(self.vae.to(self.device), frames)

    def decode(self, latents_BCFHW: Tensor) -> FramesFHWC:
        """Latents of one clip back to its frames."""
        return decode_latents(self.vae.to(self.device), latents_BCFHW)

    # Diffusion

    def first_timestep(self, noise_from: float) -> int:
        """The timestep at the share `noise_from` in [0, 1) of the schedule, from clean (0) to pure noise (1)."""
        return min(round(noise_from * self._num_timesteps), self._num_timesteps - 1)

    def draw_timesteps(self, generator: torch.Generator, count: int, noise_from: float = 0.0) -> Tensor:
        """Uniform timesteps (count,) from `first_timestep(noise_from)` on, as these models were trained."""
        first, end = self.first_timestep(noise_from), self._num_timesteps
        return torch.randint(first, end, (count,), generator=generator).to(self.device)

    def add_noise(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noisy latents at these timesteps."""
        noisy: Tensor = self._noise.add_noise(latents_BCFHW, noise_BCFHW, timesteps_B)
        return noisy

    def target(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noise or v, whichever the model was trained to predict."""
        return training_target(self._noise, latents_BCFHW, noise_BCFHW, timesteps_B)

    @abstractmethod
    def predict(self, latents_BCFHW: Tensor, timesteps_B: Tensor, conditioning: Tensor) -> Tensor:
        """The UNet's output, fp32; a conditioning of one row serves the whole batch."""

    def predict_guided(
        self,
        latents_BCFHW: Tensor,
        timesteps_B: Tensor,
        positive: Tensor,
        negative: Tensor,
        guidance_scale: float,
    ) -> Tensor:
        """The prediction with classifier-free guidance, both halves in one batch; at scale 1 `positive` alone."""
        if guidance_scale == 1:
            return self.predict(latents_BCFHW, timesteps_B, positive)
        text_BLD = [half.expand(len(latents_BCFHW), -1, -1) for half in (negative, positive)]
        both = self.predict(latents_BCFHW.repeat(2, 1, 1, 1, 1), timesteps_B.repeat(2), torch.cat(text_BLD))
        unconditional, conditional = both.chunk(2)
        return classifier_free(unconditional, conditional, guidance_scale)

    def _denoise(self, latents_BCFHW: Tensor, timesteps_B: Tensor, text_rows: Tensor) -> Tensor:
        with self._autocast():
            predicted: Tensor = self.denoiser(latents_BCFHW, timesteps_B, text_rows, return_dict=False)[0]
        return predicted.float()

    def scheduler(self, *, invertible: bool = False) -> DDIMScheduler:
        """A fresh DDIM scheduler with the model's settings, which can be inverted in any case."""
        del invertible
        return load_scheduler(self._scheduler_folder)

    @property
    def expert_boundary(self) -> float:
        """0: there is one denoiser."""
        return 0.0

    @property
    def _num_timesteps(self) -> int:
        return int(self._noise.config.num_train_timesteps)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32)

    # Layers

    @abstractmethod
    def temporal_targets(self) -> list[str]:
        """q, k, v and out of all attention along time."""

    def spatial_targets(self) -> list[str]:
        """q, k, v and out of every transformer within a frame: self-attention and attention to the text."""
        return attention_projections(self.denoiser, Transformer2DModel)

    @abstractmethod
    def spatial_parameters(self) -> list[str]:
        """The parameters of all layers that do not mix frames."""

    @abstractmethod
    def without_time(self) -> AbstractContextManager[None]:
        """Bypass every layer that mixes frames."""

    def feature_layers(self) -> list[nn.Module]:
        """The second block on the way up, that of Tang et al. 2023 (arXiv 2306.03881)."""
        return [self.denoiser.up_blocks[1]]

    def classify_heads(self, latents_BCFHW: Tensor, prompt: str) -> dict[str, Tensor]:
        """None: every layer is either temporal or spatial as a whole."""
        del latents_BCFHW, prompt
        return {}

    # Memory

    @abstractmethod
    def activation_layers(self) -> list[nn.Module]:
        """Resnets, transformers, and all layers along time."""

    def release(self, part: Part) -> None:
        """Move the VAE or the text encoder off the accelerator until it is next used; no change on the CPU."""
        getattr(self, part).to("cpu")
