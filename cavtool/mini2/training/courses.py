"""The stage between stills and clips: the denoiser learns what words of motion do, before it sees a clip.

Stills do not teach them, and in clips the denoising loss hardly depends on them. So, at pure noise, where nothing but
the text tells it, heads on every motion module read how everything moves: layers that do not mix frames learn to
spread what the text says, and motion modules which frame is which. Latents of 4x4 are enough; many fit in a step.
Among clips the heads go on reading, from what the denoiser sees there.

A loss counts every place, so one of the finer levels counts more. With equal weights, these never learned the course:
there the denoising loss had 50 to 120 times their gradient (`tests/benchmarks2/results/architecture.md`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cavtool.core.noise import step_generator
from cavtool.mini2.training.architecture import LATENT_CHANNELS, motion_modules
from cavtool.mini2.training.plans import SEED, Plan
from cavtool.mini2.training.rendering import CONTROLS
from cavtool.mini2.training.stage import Stage, autocast
from cavtool.mini2.training.words import Captions

LR = 5e-4
_SIDE = 4  # of the latents
_PURE_NOISE = 999  # the last timestep
_WAVES = 4  # of the course and of the frame's number: half, one, one and a half and two periods of a cosine


class CourseReader(nn.Module):
    """A UNet, and heads that read the course from every place of each of its motion modules; only the UNet is kept.

    What a head reads: how everything moves at its frame; the first waves of how it moves over all frames, which a layer
    can know that does not mix frames; and the same waves of the frame's number.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet
        modules = motion_modules(unet)
        self._features: list[Tensor] = [torch.empty(0)] * len(modules)
        for i, module in enumerate(modules):
            module.register_forward_hook(partial(self._keep, i))
        num = len(CONTROLS) * (1 + _WAVES) + _WAVES
        widths = [module.norm.num_channels for module in modules]
        self.heads = nn.ModuleList(nn.Sequential(nn.GroupNorm(16, width), nn.Conv2d(width, num, 1)) for width in widths)

    def _keep(self, i: int, _module: nn.Module, _args: Any, out: Tensor) -> None:
        self._features[i] = out

    def loss(self, moves_BFK: Tensor, seen: Tensor | slice = slice(None)) -> Tensor:
        """The mean loss of all heads on what the UNet has last seen: all frames, or those whose numbers are given.

        Each head's own mean counts 1 at the coarsest level, and more at a finer one by how many more places that has.
        """
        target_XN11 = courses(moves_BFK)[:, seen].flatten(0, 1)[..., None, None]
        fewest = min(features[0, 0].numel() for features in self._features)
        losses = []
        for head, features in zip(self.heads, self._features, strict=True):
            with autocast(target_XN11.device.type):
                read = head(features).float()
            loss = functional.smooth_l1_loss(read, target_XN11.expand_as(read))
            losses.append(loss * (features[0, 0].numel() / fewest))
        return torch.stack(losses).mean()


def courses(moves_BFK: Tensor) -> Tensor:
    """What the heads read of each frame (B, F, K + waves * K + waves), from how everything moves (B, F, K)."""
    num_frames = moves_BFK.shape[1]
    middles = (torch.arange(num_frames, device=moves_BFK.device) + 0.5) / num_frames
    orders = torch.arange(1, _WAVES + 1, device=moves_BFK.device)
    waves_FW = 2**0.5 * torch.cos(torch.pi * middles[:, None] * orders)
    in_all_BFN = torch.einsum("fw,bfk->bwk", waves_FW, moves_BFK).flatten(1)[:, None] / num_frames
    parts = (moves_BFK, in_all_BFN.expand(-1, num_frames, -1), waves_FW.expand(len(moves_BFK), -1, -1))
    return torch.cat(parts, dim=-1)


def course_stage(
    plan: Plan, reader: CourseReader, text_encoder: Any, captions: Callable[[], Captions], device: str
) -> Stage:
    """The motion modules and the cross-attention to the text learn; all else stays as stills have made it."""
    text_encoder.requires_grad_(False)

    def loss_at(draw: int) -> Tensor:
        tokens_NL, moves_NFK = captions().tokens, captions().moves
        num_frames = moves_NFK.shape[1]
        generator = step_generator(SEED, draw)
        picks_B = torch.randint(len(moves_NFK), (plan.captions_per_step,), generator=generator).to(device)
        shape = (plan.captions_per_step, LATENT_CHANNELS, num_frames, _SIDE, _SIDE)
        noise_BCFHW = torch.randn(shape, generator=generator).to(device)
        with autocast(device):
            text_BLD = text_encoder(tokens_NL[picks_B])[0]
            reader.unet(noise_BCFHW, _PURE_NOISE, text_BLD.repeat_interleave(num_frames, 0))
        return reader.loss(moves_NFK[picks_B])

    def lr_share(name: str) -> float:
        return float(any(part in name for part in ("motion_modules", "attn2", "heads")))

    return Stage("courses", reader, plan.course_steps, LR, loss_at, muon=True, lr_share=lr_share)
