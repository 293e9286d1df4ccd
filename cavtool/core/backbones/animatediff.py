"""Image UNets with motion modules (AnimateDiff, Guo et al. 2023; `UNetMotionModel`), based on Stable Diffusion 1.5.

Shapes: B batch, F frames, C channels, H W of latents, L tokens, D width.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn

from cavtool.core.backbones.parts.layers import (
    attention_projections,
    bypassed,
    layers_of,
    parameters_outside,
    unchanged,
)
from cavtool.core.backbones.parts.loading import class_name, freeze, load_model, quiet
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.errors import Incompatible

ACTIVATION_LAYERS = (ResnetBlock2D, Transformer2DModel, AnimateDiffTransformer3D)


class AnimateDiffBackbone(UNetBackbone):
    """A pipeline folder of diffusers' `AnimateDiffPipeline`, opened for training and sampling.

    `unet` holds a whole `UNetMotionModel`, or a `UNet2DConditionModel` next to a `motion_adapter` folder.
    """

    @staticmethod
    def _load_denoiser(folder: Path, dtype: torch.dtype) -> Any:
        if class_name(folder / "unet") == "UNetMotionModel":
            return load_model(UNetMotionModel, folder / "unet", dtype)
        return _load_in_two_parts(folder, dtype)

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape (1, C, F, H, W) of the latents of one clip, sizes in pixels.

        Raises Incompatible for too many frames.
        """
        self._check_num_frames(num_frames)
        return super().latent_shape(num_frames, height, width)

    def predict(self, latents_BCFHW: Tensor, timesteps_B: Tensor, conditioning: Tensor) -> Tensor:
        """The UNet's output, fp32; a conditioning of one row serves the whole batch.

        Raises Incompatible for too many frames.
        """
        num_videos, _, num_frames, _, _ = latents_BCFHW.shape
        self._check_num_frames(num_frames)
        text_BLD = conditioning.expand(num_videos, -1, -1)
        return self._denoise(latents_BCFHW, timesteps_B, text_BLD.repeat_interleave(num_frames, 0))

    def _check_num_frames(self, num_frames: int) -> None:
        limit = self.denoiser.config["motion_max_seq_length"]
        if num_frames > limit:
            raise Incompatible(
                f"the model cannot process {num_frames} frames at once: its motion modules have positions for {limit}",
                hint=f"use a clip of {limit} frames or fewer",
            )

    def temporal_targets(self) -> list[str]:
        """q, k, v and out of every motion module; both of its attentions run along time."""
        return attention_projections(self.denoiser, AnimateDiffTransformer3D)

    def spatial_parameters(self) -> list[str]:
        """The parameters outside motion modules, named as in Stable Diffusion 1.5."""
        return parameters_outside(self.denoiser, (AnimateDiffTransformer3D,))

    def without_time(self) -> AbstractContextManager[None]:
        """Bypass every motion module, which leaves the image model, run on each frame."""
        return bypassed(dict.fromkeys(layers_of(self.denoiser, AnimateDiffTransformer3D), unchanged))

    def activation_layers(self) -> list[nn.Module]:
        """Resnets, transformers, and motion modules."""
        return layers_of(self.denoiser, *ACTIVATION_LAYERS)


def _load_in_two_parts(folder: Path, dtype: torch.dtype) -> Any:
    """A UNet made of an image UNet and a motion adapter, as AnimateDiff is published. Raises Incompatible."""
    if not (folder / "motion_adapter").is_dir():
        raise Incompatible(
            f"`{folder.name}` is an image model without motion modules",
            hint=f"`cav models add NAME ADAPTER --base {folder}` puts a motion adapter on it, with its noise schedule",
        )
    unet = load_model(UNet2DConditionModel, folder / "unet", dtype)
    adapter = load_model(MotionAdapter, folder / "motion_adapter", dtype)
    try:
        with quiet():
            whole = UNetMotionModel.from_unet2d(unet, adapter)
    except (ValueError, RuntimeError) as error:
        raise Incompatible(
            f"the motion adapter of `{folder.name}` does not fit its UNet",
            hint="use an adapter made for the same version of Stable Diffusion",
        ) from error
    return freeze(whole)
