"""Image VAEs, which encode each frame of a clip alone. Shapes: B batch, F frames, N single frames, C channels, H W."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from cavtool.core.backbones.parts.loading import class_name, load_model
from cavtool.core.backbones.protocol import FramesFHWC
from cavtool.errors import Incompatible

_KINDS = {"AutoencoderTiny": AutoencoderTiny, "AutoencoderKL": AutoencoderKL}
_CHUNK = 16  # frames encoded or decoded at once, so that a long video or a large bank fits into memory
_CHUNK_PIXELS = _CHUNK * 256 * 256  # fewer frames at once if they are large


def load_vae(folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline's VAE. Raises Incompatible if it is of an unknown class, IntegrityFailure if damaged."""
    name = class_name(folder)
    if name not in _KINDS:
        raise Incompatible(
            f"cannot use the model's `{folder.name}`: it is a {name}", hint=f"supported: {', '.join(_KINDS)}"
        )
    return load_model(_KINDS[name], folder, dtype)


def downscale_factor(vae: Any) -> int:
    """How many pixels wide and high one latent is."""
    widths = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
    return int(2 ** (len(widths) - 1))


@torch.inference_mode()
def encode_frames(vae: Any, frames: FramesFHWC) -> Tensor:
    """Frames of one clip to scaled latents (1, C, F, H, W): the mean if the VAE predicts a distribution."""
    size = _chunk_size(frames.shape[1] * frames.shape[2])
    chunks = [_encode(vae, frames[i : i + size]) for i in range(0, len(frames), size)]
    return torch.cat(chunks).transpose(0, 1).unsqueeze(0)


def _chunk_size(num_pixels: int) -> int:
    """How many frames of so many pixels are encoded or decoded at once."""
    return max(1, min(_CHUNK, _CHUNK_PIXELS // num_pixels))


def _encode(vae: Any, frames: FramesFHWC) -> Tensor:
    """Frames to scaled latents (F, C, H, W)."""
    pixels_FCHW = torch.from_numpy(frames).movedim(-1, 1).to(vae.device, vae.dtype) / 127.5 - 1
    encoded = vae.encode(pixels_FCHW)
    latents_FCHW = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    scaled: Tensor = latents_FCHW.float() * vae.config.scaling_factor
    return scaled


def encode_stills(vae: Any, frames: FramesFHWC) -> Tensor:
    """Frames, each alone, to scaled latents (N, C, 1, H, W)."""
    return encode_frames(vae, frames).transpose(0, 2)


@torch.inference_mode()
def decode_latents(vae: Any, latents_BCFHW: Tensor) -> FramesFHWC:
    """Scaled latents of one clip to its frames."""
    latents_FCHW = latents_BCFHW[0].transpose(0, 1) / vae.config.scaling_factor
    size = _chunk_size(latents_FCHW.shape[2] * latents_FCHW.shape[3] * downscale_factor(vae) ** 2)
    return np.concatenate([_decode(vae, chunk_FCHW) for chunk_FCHW in latents_FCHW.split(size)])


def _decode(vae: Any, latents_FCHW: Tensor) -> FramesFHWC:
    pixels_FCHW = vae.decode(latents_FCHW.to(vae.dtype)).sample.float()
    levels = (pixels_FCHW.clamp(-1, 1) + 1) * 127.5
    return np.asarray(levels.round().to(torch.uint8).movedim(1, -1).cpu().numpy())
