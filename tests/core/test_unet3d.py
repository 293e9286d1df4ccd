"""Properties that only the ModelScope family has."""

from pathlib import Path

import torch

from cavtool.core.backbones.unet3d import UNet3DBackbone


def test_the_temporal_targets_include_transformer_in(modelscope: Path) -> None:
    backbone = UNet3DBackbone(modelscope, device="cpu", dtype=torch.float32)
    assert any(name.startswith("transformer_in.") for name in backbone.temporal_targets())
    assert not any("temp" in name or "transformer_in" in name for name in backbone.spatial_targets())
