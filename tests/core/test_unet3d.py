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
    """ModelScope and ZeroScope: 17 temporal transformers with twice four projections, 22 times four convolutions."""
    with torch.device("meta"):
        unet = UNet3DConditionModel(cross_attention_dim=1024, attention_head_dim=64)
    backbone = UNet3DBackbone.__new__(UNet3DBackbone)
    backbone.denoiser = unet
    down = [f"down_blocks.{i}.{{}}.{j}" for i in range(3) for j in range(2)]
    up = [f"up_blocks.{i}.{{}}.{j}" for i in range(1, 4) for j in range(3)]
    places = [*down, *up, "mid_block.{}.0"]
    layers = [f"attn{i}.to_{name}" for i in (1, 2) for name in ("q", "k", "v", "out.0")]
    owners = ["transformer_in", *(place.format("temp_attentions") for place in places)]
    attention, convolutions = backbone.temporal_targets()[:136], backbone.temporal_targets()[136:]
    assert attention == [f"{each}.transformer_blocks.0.{layer}" for each in owners for layer in layers]
    everywhere = [
        *(f"down_blocks.{i}.{{}}.{j}" for i in range(4) for j in range(2)),
        *(f"up_blocks.{i}.{{}}.{j}" for i in range(4) for j in range(3)),
        "mid_block.{}.0",
        "mid_block.{}.1",
    ]
    inner = ["conv1.2", "conv2.3", "conv3.3", "conv4.3"]
    assert convolutions == [f"{place.format('temp_convs')}.{layer}" for place in everywhere for layer in inner]
    spatial = [place.format("attentions") for place in places]
    assert backbone.spatial_targets() == [
        f"{each}.transformer_blocks.0.{layer}" for each in spatial for layer in layers
    ]
    shapes = [unet.get_submodule(name).weight.flatten(1).shape for name in backbone.temporal_targets()]
    assert 4 * sum(sum(shape) for shape in shapes[:136]) == 831_488  # parameters of a LoRA of rank 4 on attention alone
    assert 4 * sum(sum(shape) for shape in shapes) == 2_121_728
