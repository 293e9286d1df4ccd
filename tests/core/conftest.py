from pathlib import Path

import pytest
import torch

from cavtool.core.backbones.unet3d import UNet3DBackbone


@pytest.fixture
def backbone(modelscope: Path) -> UNet3DBackbone:
    """The small ModelScope, freshly opened in fp32."""
    return UNet3DBackbone(modelscope, device="cpu", dtype=torch.float32)
