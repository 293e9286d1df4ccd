"""Base models. A new family is one new file here and one line in the table of families."""

import json
from pathlib import Path
from pkgutil import resolve_name

import torch

from cavtool.core.backbones.memory import apply
from cavtool.core.backbones.protocol import Backbone
from cavtool.core.devices import resolve_device, resolve_dtype
from cavtool.errors import Incompatible, IntegrityFailure
from cavtool.recipes import NO_SAVING, MemoryOptions

_FAMILIES = {  # the backbone for each class of denoiser, by name so that only the family in use is imported
    "UNet3DConditionModel": "unet3d:UNet3DBackbone",
    "UNetMotionModel": "animatediff:AnimateDiffBackbone",
    "UNet2DConditionModel": "animatediff:AnimateDiffBackbone",
    "WanTransformer3DModel": "wan:WanBackbone",
}
_DENOISERS = ("unet", "transformer")  # the folder of the denoiser


def open_backbone(
    folder: Path,
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    training: bool = False,
    flow_shift: float | None = None,
    memory: MemoryOptions = NO_SAVING,
) -> Backbone:
    """Open a diffusers pipeline folder. Raises Incompatible for an unknown family, IntegrityFailure if damaged.

    `flow_shift` is for models of flow matching; None leaves that of the folder's scheduler. All of `memory` must be
    decided.
    """
    part = next((name for name in _DENOISERS if (folder / name).is_dir()), _DENOISERS[0])
    try:
        denoiser = json.loads((folder / part / "config.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        hint = "download or save the model again"
        raise IntegrityFailure(f"`{folder}` is not a complete diffusers pipeline folder", hint=hint) from error
    if denoiser not in _FAMILIES:
        raise Incompatible(
            f"cannot use `{folder.name}`: its denoiser is a {denoiser}", hint=f"supported: {', '.join(_FAMILIES)}"
        )
    device = resolve_device(device)
    family = resolve_name(f"{__name__}.{_FAMILIES[denoiser]}")
    options = {} if flow_shift is None else {"flow_shift": flow_shift}
    compute = resolve_dtype(dtype, device, training=training) if isinstance(dtype, str) else dtype
    backbone: Backbone = family(folder, device=device, dtype=compute, **options)
    apply(backbone, memory)
    return backbone
