"""Video UNets of the ModelScope family (`UNet3DConditionModel`): cav-mini, ModelScope 1.7b, ZeroScope.

Shapes: B batch, F frames, C channels, H W of latents, L tokens, D width.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

from cavtool.core.backbones.parts.layers import (
    attention_projections,
    bypassed,
    convolutions,
    layers_of,
    parameters_outside,
    unchanged,
)
from cavtool.core.backbones.parts.loading import load_model
from cavtool.core.backbones.parts.unet import UNetBackbone

ACTIVATION_LAYERS = (ResnetBlock2D, TemporalConvLayer, Transformer2DModel, TransformerTemporalModel)


class UNet3DBackbone(UNetBackbone):
    """A pipeline folder of diffusers' `TextToVideoSDPipeline`, opened for training and sampling."""

    @staticmethod
    def _load_denoiser(folder: Path, dtype: torch.dtype) -> Any:
        return load_model(UNet3DConditionModel, folder / "unet", dtype)

    def predict(self, latents_BCFHW: Tensor, timesteps_B: Tensor, conditioning: Tensor) -> Tensor:
        """The UNet's output, fp32; a conditioning of one row serves the whole batch."""
        return self._denoise(latents_BCFHW, timesteps_B, conditioning.expand(len(latents_BCFHW), -1, -1))

    def temporal_targets(self) -> list[str]:
        """q, k, v and out of every temporal transformer, `transformer_in` included, and all temporal convolutions.

        Both attentions of a temporal transformer run along time. Ren et al. 2024 train these alone. But they have no
        positions: only the convolutions, padded with zeros at both ends, tell the first frames from the last. Without
        them, courses that end elsewhere than they began are learned badly (`tests/benchmarks/results/knobs.md`).
        """
        attention = attention_projections(self.denoiser, TransformerTemporalModel)
        return [*attention, *convolutions(self.denoiser, TemporalConvLayer)]

    def spatial_parameters(self) -> list[str]:
        """The parameters outside temporal transformers and convolutions, named as in Stable Diffusion 2.1."""
        return parameters_outside(self.denoiser, (TransformerTemporalModel, TemporalConvLayer))

    def without_time(self) -> AbstractContextManager[None]:
        """Bypass every layer that mixes frames."""
        return without_time(self.denoiser)

    def activation_layers(self) -> list[nn.Module]:
        """Resnets, transformers, and all layers along time."""
        return layers_of(self.denoiser, *ACTIVATION_LAYERS)


def without_time(unet: nn.Module) -> AbstractContextManager[None]:
    """Bypass every layer that mixes frames: `transformer_in`, `temp_attentions` and `temp_convs` return their input.

    A one-frame clip does not bypass them: upstream runs these layers whatever the number of frames. Stage 1 trains
    like this (Ren et al. 2024, appearance absorbers).
    """
    transformers = layers_of(unet, TransformerTemporalModel)
    convolutions = layers_of(unet, TemporalConvLayer)
    return bypassed(dict.fromkeys(transformers, _unchanged_in_tuple) | dict.fromkeys(convolutions, unchanged))


def _unchanged_in_tuple(hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
    return (hidden_states,)
