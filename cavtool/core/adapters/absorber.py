"""Appearance absorbers (Ren et al. 2024, stage 1): they learn the reference's appearance so that the T-LoRA does not.

An absorber is an S-LoRA on spatial attention, a learned token (textual inversion, Gal et al. 2022), or both ("dual").
It trains on random crops of single frames with every temporal layer bypassed. Its state holds the S-LoRA under the keys
of its file and the token as `token` (N, D).
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from cavtool.core.adapters import lora
from cavtool.core.backbones.protocol import Backbone, FramesFHWC
from cavtool.core.losses import denoising_loss
from cavtool.core.noise import step_generator

ADAPTER = "cav_absorber"
TOKEN = "token"  # noqa: S105 a key, not a secret
TOKEN_VECTORS = 2  # our choice; the paper does not say
CROP_RATIO = (0.33, 0.67)  # of the frame's sides (Ren et al. 2024, appendix A.2): appearance without layout

Params = dict[str, nn.Parameter]


def crop_bank(frames_FHWC: FramesFHWC, num_crops: int, seed: int) -> FramesFHWC:
    """Random crops of random frames, resized to the size of a frame: (num_crops, H, W, 3) uint8.

    Sides are a random share of the frame's, the same for width and height (Ren et al. 2024, appendix A.2).
    """
    rng = np.random.default_rng(seed)
    height, width = frames_FHWC.shape[1:3]
    crops = []
    for _ in range(num_crops):
        ratio = rng.uniform(*CROP_RATIO)
        left, top = rng.uniform(0, (1 - ratio) * width), rng.uniform(0, (1 - ratio) * height)
        frame = Image.fromarray(frames_FHWC[rng.integers(len(frames_FHWC))])
        box = (left, top, left + ratio * width, top + ratio * height)
        crops.append(np.asarray(frame.resize((width, height), Image.Resampling.BICUBIC, box)))
    return np.stack(crops)


def new_absorber(
    backbone: Backbone, appearance: str, *, with_lora: bool, with_token: bool, rank: int, seed: int
) -> Params:
    """Add an untrained absorber to the backbone; returns its parameters."""
    params: Params = {}
    if with_lora:
        params |= lora.inject(backbone.denoiser, ADAPTER, backbone.spatial_targets(), rank, seed=seed)
    if with_token:
        params[TOKEN] = nn.Parameter(backbone.token_like(appearance.replace("*", " "), TOKEN_VECTORS))
    return params


def absorber_loss(
    backbone: Backbone, params: Params, crops_NCFHW: Tensor, appearance: str, *, batch_size: int, seed: int
) -> Callable[[int], Tensor]:
    """The loss of each step of stage 1: single crops under the appearance prompt y_S, with time bypassed.

    Ren et al. 2024, equations (3) and (4).
    """
    token = params.get(TOKEN)
    fixed = None if token is not None else backbone.encode_text([appearance])

    def loss_at(step: int) -> Tensor:
        generator = step_generator(seed, step)
        picks = torch.randint(len(crops_NCFHW), (batch_size,), generator=generator)
        conditioning = backbone.encode_text([appearance], token) if fixed is None else fixed
        with backbone.without_time():
            return denoising_loss(backbone, crops_NCFHW[picks].to(backbone.device), conditioning, generator)

    return loss_at


def load_absorber(backbone: Backbone, state: lora.LoraState) -> Tensor | None:
    """Add a trained absorber to the backbone, frozen; returns its token for `encode_text`, None if it has none."""
    spatial = {key: value for key, value in state.items() if key != TOKEN}
    if spatial:
        lora.load_into(backbone.denoiser, ADAPTER, spatial)
    return state[TOKEN].to(backbone.device) if TOKEN in state else None
