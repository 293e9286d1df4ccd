"""Properties that only the ModelScope family has."""

from pathlib import Path

import torch
from diffusers import UNet3DConditionModel

from cavtool.core.backbones.unet3d import UNet3DBackbone


def test_the_temporal_targets_include_transformer_in(modelscope: Path) -> None:
    backbone = UNet3DBackbone(modelscope, device="cpu", dtype=torch.float32)
    assert any(name.startswith("transformer_in.") for name in backbone.temporal_targets())
    assert not any("temp" in name or "transformer_in" in name for name in backbone.spatial_targets())


def test_the_targets_in_the_model_of_full_size() -> None:
    """ModelScope and ZeroScope: 17 temporal transformers with two attentions of four projections each."""
    with torch.device("meta"):
        unet = UNet3DConditionModel(cross_attention_dim=1024, attention_head_dim=64)
    backbone = UNet3DBackbone.__new__(UNet3DBackbone)
    backbone.denoiser = unet
    down = [f"down_blocks.{i}.{{}}.{j}" for i in range(3) for j in range(2)]
    up = [f"up_blocks.{i}.{{}}.{j}" for i in range(1, 4) for j in range(3)]
    places = [*down, *up, "mid_block.{}.0"]
    layers = [f"attn{i}.to_{name}" for i in (1, 2) for name in ("q", "k", "v", "out.0")]
    owners = ["transformer_in", *(place.format("temp_attentions") for place in places)]
    assert backbone.temporal_targets() == [
        f"{each}.transformer_blocks.0.{layer}" for each in owners for layer in layers
    ]
    assert len(backbone.temporal_targets()) == 136
    spatial = [place.format("attentions") for place in places]
    assert backbone.spatial_targets() == [
        f"{each}.transformer_blocks.0.{layer}" for each in spatial for layer in layers
    ]
    shapes = [unet.get_submodule(name).weight.shape for name in backbone.temporal_targets()]
    assert 4 * sum(sum(shape) for shape in shapes) == 831_488  # parameters of a LoRA of rank 4
