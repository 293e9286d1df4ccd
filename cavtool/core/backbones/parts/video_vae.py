"""Wan's VAE, which compresses time: one latent for the first frame, then one for every `scale_factor_temporal` frames.

Shapes: B batch, F frames, N single frames, C channels, H W of latents or pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from cavtool.core.backbones.parts.loading import class_name, load_model
from cavtool.core.backbones.protocol import FramesFHWC
from cavtool.errors import Incompatible


def load_vae(folder: Path) -> Any:
    """The VAE in fp32, as its authors run it. Raises Incompatible for another class, IntegrityFailure if damaged."""
    if (name := class_name(folder)) != "AutoencoderKLWan":
        raise Incompatible(
            f"cannot use the model's `{folder.name}`: it is a {name}", hint="supported: AutoencoderKLWan"
        )
    return load_model(AutoencoderKLWan, folder, torch.float32)


@torch.inference_mode()
def encode_frames(vae: Any, frames: FramesFHWC) -> Tensor:
    """Frames of one clip to latents (1, C, F, H, W), normalised with the VAE's mean and deviation of each channel."""
    pixels_FHWC = torch.from_numpy(frames).to(vae.device, vae.dtype) / 127.5 - 1
    latents_BCFHW: Tensor = vae.encode(pixels_FHWC.movedim(-1, 0).unsqueeze(0)).latent_dist.mode()
    mean, deviation = _moments(vae)
    return (latents_BCFHW.float() - mean) / deviation


def encode_stills(vae: Any, frames: FramesFHWC) -> Tensor:
    """Frames, each as a clip of one frame, to normalised latents (N, C, 1, H, W)."""
    return torch.cat([encode_frames(vae, frames[i : i + 1]) for i in range(len(frames))])


@torch.inference_mode()
def decode_latents(vae: Any, latents_BCFHW: Tensor) -> FramesFHWC:
    """Normalised latents of one clip to its frames."""
    mean, deviation = _moments(vae)
    pixels_BCFHW = vae.decode((latents_BCFHW * deviation + mean).to(vae.dtype)).sample.float()
    levels_CFHW = (pixels_BCFHW[0].clamp(-1, 1) + 1) * 127.5
    return np.asarray(levels_CFHW.round().to(torch.uint8).movedim(0, -1).cpu().numpy())


def _moments(vae: Any) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents, each (1, C, 1, 1, 1)."""
    mean, deviation = (
        torch.tensor(vae.config[key], device=vae.device).view(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std")
    )
    return mean, deviation
