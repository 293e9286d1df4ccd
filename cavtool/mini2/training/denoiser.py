"""The stages that make the denoiser: stills with time bypassed, then clips, which train the motion modules.

Much as AnimateDiff was made (Guo et al. 2023). Both predict v (Salimans & Ho 2022). The text encoder is frozen.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from cavtool.core.backbones.parts.layers import bypassed, unchanged
from cavtool.core.noise import step_generator
from cavtool.mini2.training.architecture import Denoiser, motion_modules, new_scheduler, to_tokens
from cavtool.mini2.training.data import Scenes, subject_weight
from cavtool.mini2.training.plans import SEED, Plan
from cavtool.mini2.training.stage import Stage

LR, VIDEO_LR = 1e-3, 5e-4
_TEXT_DROPPED = 0.1  # share of captions, for classifier-free guidance
_NOISIER = 1.4  # of clips: half the timesteps are above 0.62 of all


def still_stage(plan: Plan, denoiser: Denoiser, tokenizer: Any, stills: Scenes, device: str) -> Stage:
    """Single frames, with time bypassed."""
    loss_of = _denoising_loss(denoiser, tokenizer, device)

    def loss_at(step: int) -> Tensor:
        with without_time(denoiser):
            return loss_of(stills, plan.stills_per_step, step)

    return Stage("stills", denoiser.unet, plan.still_steps, LR, loss_at, muon=True)


def video_stage(plan: Plan, denoiser: Denoiser, tokenizer: Any, clips: Scenes, device: str) -> Stage:
    """Clips, for the motion modules and the cross-attention to text; the rest is frozen.

    A step is faster than with everything in training; whether it learns more in the same time is not settled
    (`tests/benchmarks2/results/architecture.md`). Words of motion, which stills do not teach, come in through the
    cross-attention only: motion modules do not see the text.
    """
    loss_of = _denoising_loss(denoiser, tokenizer, device)
    for name, param in denoiser.unet.named_parameters():
        param.requires_grad_("motion_modules" in name or "attn2" in name)

    def loss_at(step: int) -> Tensor:
        return loss_of(clips, plan.clips_per_step, step)

    return Stage("videos", denoiser.unet, plan.video_steps, VIDEO_LR, loss_at, muon=True)


def _denoising_loss(denoiser: Denoiser, tokenizer: Any, device: str) -> Callable[[Scenes, int, int], Tensor]:
    """The loss of a number of scenes in a step.

    The subject's places count more, and nearly clean latents, whose noise is hard to tell and does no harm, count less
    (in the way of Hang et al. 2023). The best prediction is the same whatever counts: this says what to learn first.
    """
    denoiser.text_encoder.requires_grad_(False)
    alphas = new_scheduler().alphas_cumprod.to(device)
    no_text_BL = to_tokens(tokenizer, [""]).to(device)

    def loss_of(scenes: Scenes, count: int, step: int) -> Tensor:
        generator = torch.Generator(device).manual_seed(step_generator(SEED, step).initial_seed())
        draw: dict[str, Any] = {"generator": generator, "device": device}
        picks = torch.randint(len(scenes.latents), (count,), **draw)
        latents_BCFHW = scenes.latents[picks].float()
        dropped_B1 = torch.rand(count, 1, **draw) < _TEXT_DROPPED
        tokens_BL = torch.where(dropped_B1, no_text_BL, scenes.tokens[picks].long())
        noise_BCFHW = torch.randn(latents_BCFHW.shape, **draw)
        num_frames = latents_BCFHW.shape[2]
        timesteps_B = _timesteps(len(alphas), torch.rand(count, **draw), num_frames)
        alpha = alphas[timesteps_B].sqrt().view(-1, 1, 1, 1, 1)
        sigma = (1 - alphas[timesteps_B]).sqrt().view(-1, 1, 1, 1, 1)
        noisy_BCFHW = alpha * latents_BCFHW + sigma * noise_BCFHW
        with torch.autocast(device, torch.bfloat16):
            text_BLD = denoiser.text_encoder(tokens_BL)[0].repeat_interleave(num_frames, 0)
            predicted = denoiser.unet(noisy_BCFHW, timesteps_B, text_BLD, return_dict=False)[0]
        error_BFHW = (predicted.float() - (alpha * noise_BCFHW - sigma * latents_BCFHW)).square().mean(1)
        weight_BFHW = subject_weight(scenes.discs[picks], error_BFHW.shape[-1])
        noise_to_signal_B = (sigma / alpha).square().clamp(max=1).view(-1, 1, 1, 1)
        loss: Tensor = (error_BFHW * weight_BFHW * noise_to_signal_B).sum() / weight_BFHW.sum()
        return loss

    return loss_of


def without_time(denoiser: Denoiser) -> AbstractContextManager[None]:
    """Bypass every motion module."""
    return bypassed(dict.fromkeys(motion_modules(denoiser.unet), unchanged))


def _timesteps(num: int, quiet_B: Tensor, num_frames: int) -> Tensor:
    """Uniform for stills; for clips the noisier the likelier.

    Even at high noise, many frames together reveal the motion, so the caption helps at the noisiest timesteps only
    (like the resolution-dependent shift of Esser et al. 2024, for frames).
    """
    if num_frames > 1:
        quiet_B = quiet_B.pow(_NOISIER)
    return ((1 - quiet_B) * num).long().clamp(max=num - 1)
