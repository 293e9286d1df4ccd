"""Appearance absorbers (Ren et al. 2024, stage 1): they learn the reference's appearance so that the T-LoRA does not.

An absorber is an S-LoRA on spatial attention, a learned token (textual inversion, Gal et al. 2022), or both ("dual").
It trains on random crops of single frames with every temporal layer bypassed. Its state holds the S-LoRA under the keys
of its file and the token as `token` (N, D).

One for `--style` has another purpose: to show what it has learned in new places. It trains on almost whole pictures,
and half of its draws are the base's own pictures of other things, so that those stay as they are (prior preservation,
Ruiz et al. 2023, arXiv 2208.12242).
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cavtool.core.adapters import lora
from cavtool.core.adapters.heads import Heads, restrict
from cavtool.core.backbones.protocol import Backbone, Conditioning, FramesFHWC
from cavtool.core.distributed import WHOLE, Share, StepLoss
from cavtool.core.losses import denoising_loss
from cavtool.core.noise import step_generator

ADAPTER = "cav_absorber"
TOKEN = "token"  # noqa: S105 a key, not a secret
TOKEN_VECTORS = 2  # our choice; the paper does not say
OWN_COLOURS = 0.5  # share of the draws that take the clip and not a recoloured version
CROP_RATIO = (0.33, 0.67)  # of the frame's sides (Ren et al. 2024, appendix A.2): appearance without layout
STYLE_RATIO = (0.6, 1.0)  # our choice, for what is to be shown as a whole

Stills = tuple[Conditioning, Tensor]  # of one prompt, and latents of pictures of it (N, C, 1, H, W)
Params = dict[str, nn.Parameter]


def crop_bank(
    frames: Sequence[FramesFHWC] | FramesFHWC,
    num_crops: int,
    seed: int,
    *,
    size: tuple[int, int] | None = None,
    ratios: tuple[float, float] = CROP_RATIO,
) -> FramesFHWC:
    """Random crops of random frames (H, W, 3), resized to one size: (num_crops, H, W, 3) uint8.

    Sides are a random share of the frame's, the same for width and height (Ren et al. 2024, appendix A.2). `size` is
    height and width (default: those of the first frame); the frames may have others of the same aspect.
    """
    rng = np.random.default_rng(seed)
    height, width = size or frames[0].shape[:2]
    crops = []
    for _ in range(num_crops):
        ratio, x, y = rng.uniform(*ratios), rng.random(), rng.random()
        frame = Image.fromarray(frames[int(rng.integers(len(frames)))])
        left, top = (1 - ratio) * frame.width * x, (1 - ratio) * frame.height * y
        box = (left, top, left + ratio * frame.width, top + ratio * frame.height)
        crops.append(np.asarray(frame.resize((width, height), Image.Resampling.BICUBIC, box)))
    return np.stack(crops)


def new_absorber(
    backbone: Backbone,
    appearance: str,
    *,
    with_lora: bool,
    with_token: bool,
    rank: int,
    seed: int,
    heads: Heads | None = None,
) -> Params:
    """Add an untrained absorber to the backbone; returns its parameters.

    `heads` are the spatial ones, for models in which only some heads of a layer are.
    """
    params: Params = {}
    if with_lora:
        params |= lora.inject(backbone.denoiser, ADAPTER, backbone.spatial_targets(), rank, seed=seed)
        restrict(params, heads or {})
    if with_token:
        params[TOKEN] = nn.Parameter(backbone.token_like(appearance.replace("*", " "), TOKEN_VECTORS))
    return params


def absorber_loss(
    backbone: Backbone,
    params: Params,
    crops_NCFHW: Tensor,
    appearance: str,
    *,
    batch_size: int,
    seed: int,
    own: Sequence[Stills] = (),
) -> StepLoss:
    """The loss of each step of stage 1: single crops under the appearance prompt y_S, with time bypassed.

    Ren et al. 2024, equations (3) and (4). With the base's `own` stills, the mean of this loss and of that on as many
    stills of one of their prompts.
    """
    token = params.get(TOKEN)
    fixed = None if token is not None else backbone.encode_text([appearance])

    def loss_at(step: int, share: Share = WHOLE) -> Tensor:
        generator = step_generator(seed, step)
        conditioning = backbone.encode_text([appearance], token) if fixed is None else fixed
        loss = loss_of(crops_NCFHW, conditioning, generator, share)
        if not own:
            return loss
        other, stills_NCFHW = own[int(torch.randint(len(own), (), generator=generator))]
        return (loss + loss_of(stills_NCFHW, other, generator, share)) / 2

    def loss_of(stills_NCFHW: Tensor, conditioning: Conditioning, generator: torch.Generator, share: Share) -> Tensor:
        picks = torch.randint(len(stills_NCFHW), (batch_size,), generator=generator)
        with backbone.without_time():
            return denoising_loss(backbone, stills_NCFHW[picks], conditioning, generator, share=share)

    return loss_at


def load_absorber(backbone: Backbone, state: lora.LoraState) -> Tensor | None:
    """Add a trained absorber to the backbone, frozen; returns its token for `encode_text`, None if it has none."""
    spatial = {key: value for key, value in state.items() if key != TOKEN}
    if spatial:
        lora.load_into(backbone.denoiser, ADAPTER, spatial)
    return state[TOKEN].to(backbone.device) if TOKEN in state else None


def motion_loss(
    backbone: Backbone,
    latents_NCFHW: Tensor,
    prompt: str,
    token: Tensor | None,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    noise_from: float = 0.0,
    dropout: float = 0.0,
) -> StepLoss:
    """The loss of each step of stage 2: the whole clip under the prompt y, with the absorber that the backbone has.

    Ren et al. 2024, equation (5). The first of the latents are those of the clip, the others, if there are any, of
    versions of it: each element of a batch takes the clip or, just as often, one of the others. With the probability
    `dropout` a step runs without the injected absorber and its token (MotionDirector, Zhao et al. 2023); merged ones
    stay. `first_step` is the number of steps of earlier stages.
    """
    conditioning = backbone.encode_text([prompt], token)
    bare = backbone.encode_text([prompt]) if dropout else conditioning

    def loss_at(step: int, share: Share = WHOLE) -> Tensor:
        generator = step_generator(seed, first_step + step)
        if dropout and torch.rand((), generator=generator) < dropout:
            with lora.switched_off(backbone.denoiser, ADAPTER):
                return loss_of(generator, bare, share)
        return loss_of(generator, conditioning, share)

    def loss_of(generator: torch.Generator, conditioning: Conditioning, share: Share) -> Tensor:
        versions = torch.zeros(batch_size, dtype=torch.long)
        if len(latents_NCFHW) > 1:
            others = torch.randint(1, len(latents_NCFHW), (batch_size,), generator=generator)
            versions = torch.where(torch.rand(batch_size, generator=generator) < OWN_COLOURS, versions, others)
        latents = latents_NCFHW[versions]
        return denoising_loss(backbone, latents, conditioning, generator, noise_from=noise_from, share=share)

    return loss_at
