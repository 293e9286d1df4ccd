"""Weights that arrive in other forms, as safetensors and pipeline folders: pickled weights, single-file checkpoints."""

import pickle
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from cavtool.core.backbones.parts.loading import quiet
from cavtool.errors import IntegrityFailure


def convert_pickle(file: Path, target: Path) -> None:
    """Write the tensors of a pickled file (.bin) as safetensors.

    It is read with `weights_only=True`, which runs no code. Raises IntegrityFailure if it holds anything but tensors.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of the pickle protocol
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        hint = "it is damaged, or it would run code when loaded; use a model with safetensors"
        raise IntegrityFailure(f"refused to load the pickle `{file.name}`: not only tensors", hint=hint) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise IntegrityFailure(f"`{file.name}` does not hold named tensors", hint="use a model with safetensors")
    with _disk_errors():
        save_file(_unshared(state), target, metadata={"format": "pt"})


def convert_checkpoint(file: Path, config: Path, target: Path) -> None:
    """Save a Stable Diffusion checkpoint in one safetensors file as a pipeline folder.

    `config` is a pipeline folder of the same version of Stable Diffusion, of which only configs and the tokenizer are
    read. Raises IntegrityFailure if the file is not such a checkpoint.
    """
    with quiet():
        from diffusers import StableDiffusionPipeline

    options: dict[str, Any] = {"torch_dtype": torch.float16, "local_files_only": True}
    options |= {"safety_checker": None, "feature_extractor": None}  # no video needs them
    try:
        with quiet():
            pipeline = StableDiffusionPipeline.from_single_file(str(file), config=str(config), **options)
    except Exception as error:  # the converters of diffusers raise anything for a file of another kind
        hint = "give a Stable Diffusion 1.5 checkpoint with its UNet, VAE and text encoder, as .safetensors"
        raise IntegrityFailure(f"`{file.name}` is not a Stable Diffusion 1.5 checkpoint", hint=hint) from error
    with quiet(), _disk_errors():
        pipeline.save_pretrained(target, safe_serialization=True)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Raises OSError for a disk that is full; safetensors has an error of its own."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _unshared(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each with memory of its own, which safetensors asks for."""
    seen: set[int] = set()
    result = {}
    for key, value in state.items():
        shared = value.untyped_storage().data_ptr() in seen
        seen.add(value.untyped_storage().data_ptr())
        result[key] = value.clone() if shared else value.contiguous()
    return result
