"""The tensors in a file of weights, whatever tool wrote it."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cavtool.errors import IntegrityFailure

DAMAGED = "the file is damaged or incomplete: download or save it again"


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The entries of a file and its metadata; a pickle is read without running code and has no metadata.

    Raises IntegrityFailure if it is not a file of weights.
    """
    return _read_safetensors(path) if path.suffix.lower() == ".safetensors" else (_read_pickle(path), {})


def pair(name: str, down: Tensor, up: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """A (R, in) and B (out, R) of a layer in fp32, B times the scale; kernels of convolutions are flattened.

    Raises IntegrityFailure if the two do not belong together.
    """
    if up.dim() < 2:
        raise IntegrityFailure(f"the matrices of `{name}` have too few dimensions", hint=DAMAGED)
    A, B = down.float().flatten(1), up.float().flatten(1) * scale
    if A.dim() != 2 or B.dim() != 2 or B.shape[1] != A.shape[0]:
        shapes = f"{tuple(down.shape)} and {tuple(up.shape)}"
        raise IntegrityFailure(f"the matrices of `{name}` have shapes {shapes}, which do not match", hint=DAMAGED)
    if not (A.isfinite().all() and B.isfinite().all()):
        raise IntegrityFailure(f"the matrices of `{name}` or their scale hold NaN or infinity", hint=DAMAGED)
    return A, B


def rank_of(name: str, down: Tensor) -> int:
    """The rank of a layer, by its first matrix. Raises IntegrityFailure if it has none."""
    if down.dim() < 2 or not down.numel():
        raise IntegrityFailure(f"the matrices of `{name}` are empty or have too few dimensions", hint=DAMAGED)
    return len(down)


def scalar(value: Any, default: float) -> float:
    """The number in a tensor of one element, such as an alpha; `default` if there is none."""
    return float(value.flatten()[0]) if isinstance(value, Tensor) and value.numel() else default


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 not a dict
    except (OSError, SafetensorError) as error:
        raise IntegrityFailure(f"`{path.name}` is not a readable safetensors file: {error}", hint=DAMAGED) from error


def _read_pickle(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about old formats
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, KeyError) as error:
        hint = "only tensors are read, never code: save it as .safetensors with the tool that made it"
        raise IntegrityFailure(f"`{path.name}` is damaged, or holds more than weights", hint=hint) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        raise IntegrityFailure(f"`{path.name}` holds no named weights", hint=DAMAGED)
    return {str(key): value for key, value in state.items()}
