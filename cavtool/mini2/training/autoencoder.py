"""The stage that makes the autoencoder."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cavtool.core.noise import step_generator
from cavtool.mini2.training.architecture import to_model_range
from cavtool.mini2.training.data import check_reused, render_pool, subject_weight
from cavtool.mini2.training.plans import SEED, STILL_SEEDS, Plan
from cavtool.mini2.training.rendering import draw as draw_scene
from cavtool.mini2.training.stage import Stage, autocast, rank, wait_for_all

LATENT_NOISE = 0.1  # at most, of latents of unit variance: what a denoiser makes is never exact


def make_frames(work: Path, count: int, device: str) -> tuple[Any, Tensor]:
    """Frames (N, H, W, 3) of stills and the discs (N, 3) of their subjects, or those made before.

    Raises Conflict if those were made of another world or for another plan.
    """
    path = work / "frames.npz"
    if not path.exists() and rank() == 0:
        with render_pool(device) as pool:
            drawn = pool.map(partial(draw_scene, "stills"), range(STILL_SEEDS, STILL_SEEDS + count), chunksize=64)
        frames, discs = (np.concatenate([getattr(one, name) for one in drawn]) for name in ("frames", "discs"))
        with path.with_suffix(".tmp").open("wb") as file:
            np.savez(file, frames=frames, discs=discs)
        path.with_suffix(".tmp").replace(path)
    wait_for_all()
    made = np.load(path)
    frames = made["frames"]
    again = [draw_scene("stills", STILL_SEEDS + i).frames for i in range(min(count, 4))]
    check_reused(path, are_same=len(frames) == count and np.array_equal(frames[: len(again)], np.concatenate(again)))
    return frames, torch.from_numpy(made["discs"])


def autoencoder_stage(work: Path, plan: Plan, vae: Any, device: str) -> Stage:
    """L1 + gradient L1 over stills, the latents kept near zero mean and unit variance.

    The decoder sees latents with more or less noise, so that it forgives a denoiser's errors. A quarter of the stills
    is recoloured, so that it does not overfit to a few colours and places.
    """
    made = cache(partial(make_frames, work, plan.num_frames, device))

    def loss_at(draw: int) -> Tensor:
        frames, discs = made()
        generator = step_generator(SEED, draw)
        picks = torch.randint(len(frames), (plan.frames_per_step,), generator=generator)
        frames_BCHW = to_model_range(frames[picks.numpy()])
        recoloured = len(picks) // 4
        frames_BCHW[:recoloured] = _recolour(frames_BCHW[:recoloured], generator)
        frames_BCHW = frames_BCHW.to(device, memory_format=torch.channels_last)
        weight_B1HW = subject_weight(discs[picks][:, None], frames_BCHW.shape[-1]).to(device)
        amount_B = LATENT_NOISE * torch.rand(len(picks), 1, 1, 1, generator=generator).square()
        with autocast(device):
            latents_BCHW = vae.encode(frames_BCHW).latents.float()
            noise = amount_B * torch.randn(latents_BCHW.shape, generator=generator)
            decoded_BCHW = vae.decode(latents_BCHW + noise.to(device)).sample.float()
        return _picture_loss(decoded_BCHW, frames_BCHW, weight_B1HW) + 0.01 * _unit_loss(latents_BCHW)

    return Stage("autoencoder", vae, plan.autoencoder_steps, 2e-3, loss_at, ema_decay=0.99)


def _recolour(frames_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Channels shuffled, each frame paler or grey, lighter or darker, less or more in contrast."""
    saturation, contrast, light = torch.rand(3, len(frames_BCHW), 1, 1, 1, generator=generator)
    frames_BCHW = frames_BCHW[:, torch.randperm(3, generator=generator)]
    frames_BCHW = torch.lerp(frames_BCHW.mean(1, keepdim=True), frames_BCHW, saturation)
    recoloured: Tensor = (frames_BCHW * (0.5 + contrast) + light - 0.5).clamp(-1, 1)
    return recoloured


def _picture_loss(a_BCHW: Tensor, b_BCHW: Tensor, weight_B1HW: Tensor) -> Tensor:
    error_BCHW = a_BCHW - b_BCHW
    down, right = (error_BCHW.diff(dim=dim).abs() for dim in (2, 3))
    edges = (down * weight_B1HW[:, :, 1:]).mean() + (right * weight_B1HW[..., 1:]).mean()
    return (error_BCHW.abs() * weight_B1HW).mean() + 0.5 * edges


def _unit_loss(latents_BCHW: Tensor) -> Tensor:
    mean, std = latents_BCHW.mean((0, 2, 3)), latents_BCHW.std((0, 2, 3))
    return (mean.square() + std.log().square()).mean()
