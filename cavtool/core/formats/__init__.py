"""Weights that other tools wrote, read into one form. A foreign layout is one file here.

Shapes: R rank, N vectors of a learned token, D width of the text encoder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cavtool.core.formats import animatediff, dreambooth, kohya, peft, textual_inversion, wan
from cavtool.core.formats.files import read_tensors
from cavtool.errors import IntegrityFailure

SUPPORTED = (
    "supported: a LoRA in the layout of diffusers, PEFT, kohya, musubi-tuner or ComfyUI, a textual inversion, "
    "the folder of a DreamBooth UNet"
)


@dataclass(frozen=True)
class AbsorberFile:
    """What a file or folder holds, not yet fitted to a base model.

    `loras` maps the layer names of the file to A (R, in) and B (out, R), scaled by alpha / rank; `token` is (N, D);
    `weights` are the parameters of a whole UNet; `others` are the entries that none of this uses.
    """

    loras: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    token: Tensor | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def read_absorber(path: Path) -> AbsorberFile:
    """Read an S-LoRA, a textual inversion, both in one file, or the folder of a DreamBooth UNet.

    Raises IntegrityFailure if it is damaged or holds nothing of the kind.
    """
    if path.is_dir():
        return AbsorberFile(weights=dreambooth.read(path))
    state, metadata = read_tensors(path)
    token, others = textual_inversion.read(state)
    loras, others = read_loras(path, others, metadata)
    if not loras and token is None:
        raise IntegrityFailure(f"`{path.name}` holds no absorber in a known layout", hint=SUPPORTED)
    return AbsorberFile(loras, token, others=tuple(others))


def read_loras(
    path: Path, state: Mapping[str, Any], metadata: Mapping[str, str]
) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Any]]:
    """A and B of each layer, scaled, by the names of this package as far as the layout tells them; the other entries.

    `path` is that of the file, whose name says which expert of Wan it is for. Raises IntegrityFailure.
    """
    loras, others = peft.read(state, peft.scales(path, metadata))
    if not loras:
        loras, others = kohya.read(others)
    expert = wan.expert_of(path)
    return {wan.layer_of(animatediff.layer_of(name), expert): pair for name, pair in loras.items()}, others
