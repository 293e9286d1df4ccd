"""Weights that other tools wrote, read into one form. A foreign layout is one file here.

Shapes: R rank, N vectors of a learned token, D width of the text encoder.
"""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from cavtool.core.formats import comfy, dreambooth, kohya, peft, textual_inversion
from cavtool.core.formats.files import read_tensors
from cavtool.errors import IntegrityFailure

SUPPORTED = (
    "supported: a LoRA in the layout of diffusers, PEFT, kohya or ComfyUI, a textual inversion, "
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
    loras, others = peft.read(others, peft.scales(path, metadata))
    loras = {comfy.layer_of(layer): pair for layer, pair in loras.items()}
    if not loras:
        loras, others = kohya.read(others)
    if not loras and token is None:
        raise IntegrityFailure(f"`{path.name}` holds no absorber in a known layout", hint=SUPPORTED)
    return AbsorberFile(loras, token, others=tuple(others))
