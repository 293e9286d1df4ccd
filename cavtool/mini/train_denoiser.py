"""The stages of pretraining that make the denoiser: stills, then what the words of motion mean, then clips.

Left to the denoising loss alone the words never reached the motion: after 10,000 steps naming it lowered the loss at
pure noise by 0.002, where the means of renders by motion leave 0.05 to gain. The text encoder hardly told "left" from
"right", and the temporal layers had no number of the frame. The number alone brought no gain in 300 steps; with the
text encoder taught first, and the moves read off the features (`reader.py`), as many brought 0.04.
"""

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cavtool.core.backbones.unet3d import without_time
from cavtool.core.noise import step_generator
from cavtool.mini import world
from cavtool.mini.architecture import Denoiser, new_scheduler, to_tokens
from cavtool.mini.plans import CLIP_SEEDS, SEED, STILL_SEEDS, Plan
from cavtool.mini.reader import CaptionReader, CourseReader, Reader, subject_weight, truth_of
from cavtool.mini.stage import Stage
from cavtool.mini2.training.stage import autocast

READING_WEIGHT, COURSES_WEIGHT, CAPTION_WEIGHT = 0.1, 0.5, 1.0


class Denoising(nn.Module):
    """All that learns in these stages: the denoiser, and the readers that help it."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser
        unet = denoiser.unet
        narrow, wide = unet.config.block_out_channels
        self.reader, self.caption_reader = Reader(wide), CaptionReader(unet.config.cross_attention_dim)
        self.course_readers: Any = nn.ModuleDict(
            {
                "down": CourseReader(wide),
                "mid": CourseReader(wide),
                "up": CourseReader(wide),
                "last": CourseReader(narrow),
            }
        )
        self.features: dict[str, Tensor] = {}  # (X, C, S, S) by block, of the run last made
        blocks = (unet.down_blocks[-1], unet.mid_block, *unet.up_blocks)
        for name, block in zip(self.course_readers, blocks, strict=True):
            block.register_forward_hook(partial(self._keep, name))

    def _keep(self, name: str, _block: nn.Module, _args: Any, out: Any) -> None:
        self.features[name] = out[0] if isinstance(out, tuple) else out


def denoiser_stages(work: Path, plan: Plan, denoiser: Denoiser, tokenizer: Any, device: str) -> Iterator[Stage]:
    """Stills with time bypassed, the words of motion, then clips with still batches mixed in; train each in turn.

    As in the autoencoder the subject's places count more; nearly clean latents, whose noise is hard to tell and does no
    harm, count less (in the way of Hang et al. 2023). The best prediction is the same, whatever each place and timestep
    counts: this says what to learn first. So do the readers.
    """
    stills, clips = (torch.load(work / f"latents-{name}.pt", weights_only=True) for name in ("stills", "clips"))
    stills["truth"] = truth_of(world.sample_still, STILL_SEEDS, len(stills["latents"]), 1)
    clips["truth"] = truth_of(world.sample_scene, CLIP_SEEDS, len(clips["latents"]), world.NUM_FRAMES)
    no_text = to_tokens(tokenizer, [""])
    alphas = new_scheduler().alphas_cumprod
    learner = Denoising(denoiser).to(device)

    def loss_of(data: dict[str, Any], count: int, step: int) -> Tensor:
        generator = step_generator(SEED, step)
        picks = torch.randint(len(data["latents"]), (count,), generator=generator)
        latents_BCFHW = data["latents"][picks].float().to(device)
        truth = data["truth"][picks]
        dropped = torch.rand(count, 1, generator=generator) < 0.1
        tokens_BL = torch.where(dropped, no_text, data["tokens"][picks]).to(device)
        noise_BCFHW = torch.randn(latents_BCFHW.shape, generator=generator).to(device)
        timesteps_B = _timesteps(len(alphas), latents_BCFHW.shape, generator)
        alpha = alphas[timesteps_B].sqrt().view(-1, 1, 1, 1, 1).to(device)
        sigma = (1 - alphas[timesteps_B]).sqrt().view(-1, 1, 1, 1, 1).to(device)
        with autocast(device):
            text_BLD = denoiser.text_encoder(tokens_BL)[0]
            noisy_BCFHW = alpha * latents_BCFHW + sigma * noise_BCFHW
            v_pred = denoiser.unet(noisy_BCFHW, timesteps_B.to(device), text_BLD).sample
            misread = READING_WEIGHT * learner.reader.loss(learner.features["up"], truth)
            misread = misread + CAPTION_WEIGHT * learner.caption_reader.loss(text_BLD, truth)
            if latents_BCFHW.shape[2] > 1:
                for name, reader in learner.course_readers.items():
                    misread = misread + COURSES_WEIGHT * reader.loss(learner.features[name], truth.moves)
        target = alpha * noise_BCFHW - sigma * latents_BCFHW
        weight_BFHW = subject_weight(truth.discs, latents_BCFHW.shape[-1]).to(device)
        error_BFHW = (v_pred.float() - target).square().mean(1)
        noise_to_signal_B = (sigma / alpha).square().clamp(max=1).view(-1, 1, 1, 1)
        loss: Tensor = (error_BFHW * weight_BFHW * noise_to_signal_B).sum() / weight_BFHW.sum()
        return loss + misread

    def still_loss(step: int) -> Tensor:
        with without_time(denoiser.unet):
            return loss_of(stills, plan.stills_per_step, step)

    def video_loss(step: int) -> Tensor:
        if step % plan.stills_every == 0:
            return still_loss(step)
        return loss_of(clips, plan.clips_per_step, step)

    yield Stage("stills", learner, plan.still_steps, plan.lr, still_loss)
    yield _words_stage(plan, learner, stills, clips, device)
    yield Stage("videos", learner, plan.video_steps, plan.lr, video_loss)


def _words_stage(plan: Plan, learner: Denoising, stills: Any, clips: Any, device: str) -> Stage:
    """The text encoder alone learns how all moves in what a caption says; of stills it says what it said before."""
    encoder = learner.denoiser.text_encoder
    before = copy.deepcopy(encoder)

    def loss_at(step: int) -> Tensor:
        generator = step_generator(SEED, step)
        still_picks, clip_picks = (
            torch.randint(len(data["tokens"]), (plan.stills_per_step,), generator=generator) for data in (stills, clips)
        )
        still_tokens, clip_tokens = stills["tokens"][still_picks].to(device), clips["tokens"][clip_picks].to(device)
        with torch.no_grad():
            said_BLD = before(still_tokens)[0]
        misread: Tensor = learner.caption_reader.loss(encoder(clip_tokens)[0], clips["truth"][clip_picks])
        return misread + functional.mse_loss(encoder(still_tokens)[0], said_BLD)

    return Stage("words", nn.ModuleList([encoder, learner.caption_reader]), plan.word_steps, plan.lr, loss_at)


def _timesteps(num: int, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Uniform for stills; for clips the noisier the likelier: half of them above t = 0.62 * num.

    Sixteen frames tell through much noise how all moves: below t = 700 there is hardly anything left for the words to
    say about it (as the resolution-dependent shift of Esser et al. 2024, for frames). That frames agree is learned
    further down.
    """
    quiet_B = torch.rand(shape[0], generator=generator)
    if shape[2] > 1:
        quiet_B = quiet_B.pow(1.4)
    return ((1 - quiet_B) * num).long().clamp(max=num - 1)
