"""Base models. A new family is one new file here and one line in `open_backbone`."""

import json
from pathlib import Path

from cavtool.core.backbones.base import Backbone
from cavtool.core.devices import resolve_device, resolve_dtype
from cavtool.errors import Incompatible, IntegrityFailure


def open_backbone(folder: Path, *, device: str = "auto", dtype: str = "auto", training: bool = False) -> Backbone:
    """Open a diffusers pipeline folder. Raises Incompatible for an unknown family, IntegrityFailure if damaged."""
    try:
        denoiser = json.loads((folder / "unet" / "config.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityFailure(f"`{folder}` is not a whole diffusers pipeline folder") from error
    if denoiser != "UNet3DConditionModel":
        raise Incompatible(f"`{folder.name}` is a {denoiser}; only UNet3DConditionModel can be used yet")
    from cavtool.core.backbones.unet3d import UNet3DBackbone

    where = resolve_device(device)
    return UNet3DBackbone(folder, device=where, dtype=resolve_dtype(dtype, where, training=training))
