"""The UNet of an image model fine-tuned as a whole (DreamBooth, Ruiz et al. 2023), as diffusers saves it."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cavtool.errors import IntegrityFailure
from cavtool.system.safetensors import find_weights


def files(folder: Path) -> tuple[Path, ...]:
    """The weights of the UNet in a folder: its own, or those of the pipeline around it. Raises IntegrityFailure."""
    place = folder / "unet" if (folder / "unet").is_dir() else folder
    if (weights := find_weights(place)) is None:
        hint = "it must hold `diffusion_pytorch_model.safetensors`, as `save_pretrained` of diffusers writes it"
        raise IntegrityFailure(f"`{folder}` is not the folder of a UNet", hint=hint)
    if odd := next((file for file in weights.files if not file.is_file()), None):
        raise IntegrityFailure(f"`{odd}` is missing or not a file", hint="download or save the model again")
    return weights.files


def read(folder: Path) -> dict[str, Tensor]:
    """The parameters of the UNet by name. Raises IntegrityFailure."""
    try:
        weights = {name: value for file in files(folder) for name, value in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise IntegrityFailure(
            f"the weights in `{folder}` are damaged: {error}", hint="download or save them again"
        ) from error
    if damaged := next((name for name, value in weights.items() if not value.isfinite().all()), None):
        raise IntegrityFailure(f"the weights in `{folder}` hold NaN or infinity: `{damaged}`", hint="use another file")
    return weights
