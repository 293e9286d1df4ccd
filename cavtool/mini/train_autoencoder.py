"""The stages of pretraining that make the autoencoder: all of it on stills, then the decoder on latents that err."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cavtool.core.noise import step_generator
from cavtool.mini import world
from cavtool.mini.architecture import to_model_range
from cavtool.mini.plans import SEED, STILL_SEEDS, Plan
from cavtool.mini.reader import NONE, Reader, subject_weight, truth_of
from cavtool.mini.stage import Stage
from cavtool.mini2.training.stage import autocast

READING_WEIGHT = 0.1
LATENT_NOISE, READING_NOISE = 0.03, 0.3
DENOISED_ERROR = 0.4  # of latents, at most; they have unit variance


class Autoencoding(nn.Module):
    """All that learns in the first stage: the autoencoder, and the reader of its latents."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.reader = Reader(vae.config.latent_channels)


def autoencoder_stage(work: Path, plan: Plan, vae: Any, device: str) -> Stage:
    """L1 + gradient L1 over stills, the latents kept near zero mean and unit variance and slightly noised.

    The surroundings are most of a picture and the easy part of it: the subject's pixels count `SUBJECT_WEIGHT` times.
    Some stills are recoloured, so that it is no expert of ten colours and eight places. What is shown must be plain to
    see in the latents, or the denoiser, which learns from them, is long in finding it.
    """
    stills = np.load(work / "stills.npy", mmap_mode="r")
    truths = truth_of(world.sample_still, STILL_SEEDS, len(stills), 1)
    learner = Autoencoding(vae).to(device)

    def loss_at(step: int) -> Tensor:
        generator = step_generator(SEED, step)
        picks = torch.randint(len(stills), (plan.frames_per_step,), generator=generator)
        frames_BCHW, truth = to_model_range(stills[picks.numpy()]), truths[picks]
        recoloured = plan.frames_per_step // 4
        frames_BCHW[:recoloured] = _recolour(frames_BCHW[:recoloured], generator)
        truth.looks[:recoloured, 1] = NONE
        frames_BCHW = frames_BCHW.to(device, memory_format=torch.channels_last)
        with autocast(device):
            latents_BCHW = vae.encode(frames_BCHW).latents.float()
            noise = torch.randn(latents_BCHW.shape, generator=generator).to(device)
            decoded_BCHW = vae.decode(latents_BCHW + LATENT_NOISE * noise).sample.float()
            misread = learner.reader.loss(latents_BCHW + READING_NOISE * noise, truth)
        weight_B1HW = subject_weight(truth.discs, world.SIDE).to(device)
        loss: Tensor = _picture_loss(decoded_BCHW, frames_BCHW, weight_B1HW) + 0.01 * _unit_loss(latents_BCHW)
        return loss + READING_WEIGHT * misread

    return Stage("autoencoder", learner, plan.autoencoder_steps, plan.autoencoder_lr, loss_at)


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
    steps = (down * weight_B1HW[:, :, 1:]).mean() + (right * weight_B1HW[..., 1:]).mean()
    return (error_BCHW.abs() * weight_B1HW).mean() + 0.5 * steps


def _unit_loss(latents_BCHW: Tensor) -> Tensor:
    mean, std = latents_BCHW.mean((0, 2, 3)), latents_BCHW.std((0, 2, 3))
    return (mean.square() + std.log().square()).mean()


def decoder_stage(work: Path, plan: Plan, vae: Any, device: str) -> Stage:
    """The decoder learns to forgive: from latents more or less off, the pictures they were.

    A denoiser never hits a latent exactly; a decoder that has only seen exact ones makes stained glass of that.
    """
    stills = np.load(work / "stills.npy", mmap_mode="r")
    latents_NCHW = torch.load(work / "latents-stills.pt", weights_only=True)["latents"][:, :, 0]
    discs = truth_of(world.sample_still, STILL_SEEDS, len(stills), 1).discs

    def loss_at(step: int) -> Tensor:
        generator = step_generator(SEED, step)
        picks = torch.randint(len(stills), (plan.frames_per_step,), generator=generator)
        exact_BCHW = latents_NCHW[picks].float()
        off_B = DENOISED_ERROR * torch.rand(len(picks), 1, 1, 1, generator=generator)
        latents_BCHW = exact_BCHW + off_B * torch.randn(exact_BCHW.shape, generator=generator)
        with autocast(device):
            decoded_BCHW = vae.decode(latents_BCHW.to(device, memory_format=torch.channels_last)).sample.float()
        frames_BCHW = to_model_range(stills[picks.numpy()]).to(device)
        return _picture_loss(decoded_BCHW, frames_BCHW, subject_weight(discs[picks], world.SIDE).to(device))

    return Stage("decoder", vae.decoder, plan.decoder_steps, plan.autoencoder_lr / 2, loss_at)
