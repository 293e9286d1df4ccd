"""The stages that make the denoiser: stills with time bypassed, some frames of clips, whole clips.

In the order of AnimateDiff (Guo et al. 2023), but all layers learn from clips. All predict v (Salimans & Ho 2022). The
text encoder is frozen.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cavtool.core.backbones.parts.layers import bypassed, unchanged
from cavtool.core.noise import step_generator
from cavtool.mini2.training.architecture import Denoiser, motion_modules, new_scheduler, to_tokens
from cavtool.mini2.training.courses import CourseReader
from cavtool.mini2.training.data import Scenes, subject_weight
from cavtool.mini2.training.plans import SEED, Plan
from cavtool.mini2.training.stage import Stage, autocast
from cavtool.mini2.world.scenes import NUM_FRAMES

LR = 1e-3
_STILLS_WEIGHT, _COURSE_WEIGHT = 0.5, 0.5  # among clips
_TEXT_DROPPED = 0.1  # share of captions, for classifier-free guidance
_NOISIER = 1.4  # of clips: half the timesteps are above 0.62 of all
_GIVEN_SHARE, _MOST_GIVEN = 0.3, 0.2  # share of clips; of their frames
_GIVEN_NOISE = 0.6  # their timestep at most, against that of the others


def still_stage(plan: Plan, denoiser: Denoiser, tokenizer: Any, stills: Scenes, device: str) -> Stage:
    """Single frames, with time bypassed."""
    loss_of = _denoising_loss(denoiser, tokenizer, device)

    def loss_at(draw: int) -> Tensor:
        with without_time(denoiser):
            return loss_of(stills, plan.stills_per_step, draw).loss

    return Stage("stills", denoiser.unet, plan.still_steps, LR, loss_at, muon=True)


def video_stage(
    plan: Plan,
    denoiser: Denoiser,
    reader: CourseReader,
    tokenizer: Any,
    stills: Scenes,
    clips: Scenes,
    device: str,
    *,
    sparse: bool = False,
) -> Stage:
    """Clips and some stills; with `sparse`, a few frames of each of more clips.

    A clip costs by the frame, so that a sparse step shows more captions in the same time. Whether this is better is not
    measured yet.

    From what the denoiser sees of a clip, the heads of `reader` read how everything moves there.

    Layers that do not mix frames learn on: words of motion come in through them, for motion modules do not see the
    text. A step of few clips needs a low rate, or what stills have taught is lost in its noise
    (`tests/benchmarks2/results/architecture.md`).
    """
    loss_of = _denoising_loss(denoiser, tokenizer, device)
    num_clips, num_frames = (plan.sparse_clips, plan.sparse_frames) if sparse else (plan.clips_per_step, NUM_FRAMES)

    def loss_at(draw: int) -> Tensor:
        with without_time(denoiser):
            of_stills = loss_of(stills, plan.stills_among_clips, draw)
        of_clips = loss_of(clips, num_clips, draw, num_frames)
        of_courses = reader.loss(clips.moves[of_clips.scenes], of_clips.frames)
        return _STILLS_WEIGHT * of_stills.loss + of_clips.loss + _COURSE_WEIGHT * of_courses

    name, num_steps = ("sparse", plan.sparse_steps) if sparse else ("videos", plan.video_steps)
    return Stage(name, reader, num_steps, plan.video_lr, loss_at, muon=True)


@dataclass(frozen=True)
class _Denoised:
    """A loss, of which scenes (numbers, B), of which of their frames (numbers, F)."""

    loss: Tensor
    scenes: Tensor
    frames: Tensor


def _denoising_loss(denoiser: Denoiser, tokenizer: Any, device: str) -> Callable[..., _Denoised]:
    """The loss of a number of scenes, in a step, seen at a number of their frames.

    The subject's places count more, and nearly clean latents, whose noise is hard to tell and does no harm, count less
    (in the way of Hang et al. 2023). The best prediction is the same whatever counts: this says what to learn first.
    """
    denoiser.text_encoder.requires_grad_(False)
    seen = SeenFrames(denoiser.unet)
    alphas = new_scheduler().alphas_cumprod.to(device)
    no_text_BL = to_tokens(tokenizer, [""]).to(device)

    def loss_of(scenes: Scenes, count: int, number: int, num_frames: int = 1) -> _Denoised:
        generator = torch.Generator(device).manual_seed(step_generator(SEED, number).initial_seed())
        draw: dict[str, Any] = {"generator": generator, "device": device}
        scenes.look()
        picks_B = torch.randint(scenes.ready, (count,), **draw)
        frames_F = some_frames(scenes.latents.shape[2], num_frames, draw)
        latents_BCFHW = scenes.latents[picks_B][:, :, frames_F].float()
        dropped_B1 = torch.rand(count, 1, **draw) < _TEXT_DROPPED
        tokens_BL = torch.where(dropped_B1, no_text_BL, scenes.tokens[picks_B].long())
        noise_BCFHW = torch.randn(latents_BCFHW.shape, **draw)
        timesteps_B = _timesteps(len(alphas), torch.rand(count, **draw), num_frames)
        timesteps_BF = _by_frame(timesteps_B, num_frames, draw)
        alpha = alphas[timesteps_BF].sqrt()[:, None, :, None, None]
        sigma = (1 - alphas[timesteps_BF]).sqrt()[:, None, :, None, None]
        noisy_BCFHW = alpha * latents_BCFHW + sigma * noise_BCFHW
        with autocast(device), seen.are(frames_F, timesteps_BF):
            text_BLD = denoiser.text_encoder(tokens_BL)[0].repeat_interleave(num_frames, 0)
            predicted = denoiser.unet(noisy_BCFHW, timesteps_B, text_BLD, return_dict=False)[0]
        error_BFHW = (predicted.float() - (alpha * noise_BCFHW - sigma * latents_BCFHW)).square().mean(1)
        weight_BFHW = subject_weight(scenes.discs[picks_B][:, frames_F], error_BFHW.shape[-1])
        noise_to_signal_BF11 = (sigma / alpha).square().clamp(max=1)[:, 0]
        loss = (error_BFHW * weight_BFHW * noise_to_signal_BF11).sum() / weight_BFHW.sum()
        return _Denoised(loss, picks_B, frames_F)

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


def some_frames(num: int, num_seen: int, draw: dict[str, Any]) -> Tensor:
    """The numbers of `num_seen` frames of a clip of `num`, in order."""
    return torch.randperm(num, **draw)[:num_seen].sort().values


def _by_frame(timesteps_B: Tensor, num_frames: int, draw: dict[str, Any]) -> Tensor:
    """The timesteps of every frame (B, F): of some clips, a few frames have less noise than the others.

    Where a subject goes from a frame that shows it, and what it looks like there, is easier to learn than to make it up
    in all frames at once (much as in Diffusion Forcing, Chen et al. 2024).
    """
    timesteps_BF = timesteps_B[:, None].repeat(1, num_frames)
    if num_frames == 1:
        return timesteps_BF
    count = len(timesteps_B)
    order_BF = torch.rand(count, num_frames, **draw).argsort(1)
    few_B1 = torch.randint(1, max(1, int(_MOST_GIVEN * num_frames)) + 1, (count, 1), **draw)
    few_B1 = few_B1 * (torch.rand(count, 1, **draw) < _GIVEN_SHARE)
    given_B1 = (_GIVEN_NOISE * torch.rand(count, 1, **draw) * timesteps_B[:, None]).long()
    return torch.where(order_BF < few_B1, given_B1, timesteps_BF)


class SeenFrames:
    """Tells a UNet of diffusers which frames of a clip it sees, and the timestep of each.

    By itself, it takes them for the first ones, with one timestep for all.
    """

    def __init__(self, unet: Any) -> None:
        from diffusers.models.embeddings import SinusoidalPositionalEmbedding
        from diffusers.models.resnet import ResnetBlock2D

        self._unet = unet
        self._frames_F: Tensor | None = None
        self._embedding_XD: Tensor | None = None
        for module in unet.modules():
            if isinstance(module, ResnetBlock2D):
                module.time_emb_proj.register_forward_pre_hook(self._with_times)
            elif isinstance(module, SinusoidalPositionalEmbedding):
                module.register_forward_hook(self._with_numbers)

    def _with_times(self, _module: nn.Module, _args: Any) -> Any:
        return None if self._embedding_XD is None else (functional.silu(self._embedding_XD),)

    def _with_numbers(self, module: Any, args: Any, _out: Tensor) -> Any:
        return None if self._frames_F is None else args[0] + module.pe[:, self._frames_F]

    @contextmanager
    def are(self, frames_F: Tensor, timesteps_BF: Tensor) -> Iterator[None]:
        """While this lasts, the UNet sees these frames, and its own timesteps do not count, but these do."""
        codes_XC = self._unet.time_proj(timesteps_BF.flatten())
        self._frames_F, self._embedding_XD = frames_F, self._unet.time_embedding(codes_XC)
        try:
            yield
        finally:
            self._frames_F = self._embedding_XD = None
