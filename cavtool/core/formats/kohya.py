"""LoRA files of kohya's sd-scripts, which A1111 and ComfyUI read.

`lora_unet_<layer with _ for .>.lora_down.weight` (R, in), `.lora_up.weight` (out, R) and `.alpha`, with the scale
alpha / rank; without an alpha it is 1. Layers of the text encoder are `lora_te_…`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cavtool.core.formats.files import DAMAGED, pair, rank_of, scalar
from cavtool.errors import IntegrityFailure

_PREFIX, _DOWN, _UP = "lora_unet_", ".lora_down.weight", ".lora_up.weight"


def read(state: Mapping[str, Any]) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Any]]:
    """The matrices A and B of each layer of the UNet, its dots still `_`, and the entries that are not part of them.

    Raises IntegrityFailure.
    """
    loras, others = {}, dict(state)
    for key, down in state.items():
        if not (key.startswith(_PREFIX) and key.endswith(_DOWN)) or not isinstance(down, Tensor):
            continue
        before = key.removesuffix(_DOWN)
        up = others.pop(before + _UP, None)
        if not isinstance(up, Tensor):
            raise IntegrityFailure(f"the LoRA has no second matrix for `{before}`", hint=DAMAGED)
        del others[key]
        rank = rank_of(before, down)
        scale = scalar(others.pop(f"{before}.alpha", None), rank) / rank
        loras[before.removeprefix(_PREFIX)] = pair(before, down, up, scale)
    return loras, others
