from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from cavtool.core.backbones.animatediff import AnimateDiffBackbone
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.core.backbones.unet3d import UNet3DBackbone

FAMILIES = {"modelscope": UNet3DBackbone, "animatediff": AnimateDiffBackbone}


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest) -> Path:
    """The pipeline folder of the small model of each family."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.fixture
def backbone(folder: Path) -> UNetBackbone:
    """The small model of each family, freshly opened in fp32."""
    return FAMILIES[folder.name](folder, device="cpu", dtype=torch.float32)


@pytest.fixture
def modelscope_backbone(modelscope: Path) -> UNetBackbone:
    """The small model of ModelScope's family, freshly opened in fp32."""
    return UNet3DBackbone(modelscope, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The pipeline folder of a small Wan of each kind, made when first asked for."""
    from tests.small_models import save_wan

    root = tmp_path_factory.mktemp("wan")
    return cache(lambda kind: save_wan(root / kind, kind))
