"""Loading the models of a diffusers pipeline folder: no progress bars, and errors that name the damaged model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from cavtool.errors import CavError, IntegrityFailure
from cavtool.system.safetensors import find_weights

_LONGEST = 200  # characters of a library's message


def load_model(kind: Any, folder: Path, dtype: torch.dtype, device: str) -> Any:
    """One model of the pipeline, frozen and in evaluation mode. Raises IntegrityFailure if it cannot be loaded."""
    key = "dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"
    with explain_load_errors(folder), quiet():
        weights = find_weights(folder)
        variant = weights.variant if weights else None
        model, report = kind.from_pretrained(folder, variant=variant, output_loading_info=True, **{key: dtype})
        if missing := sorted(report["missing_keys"]):  # the libraries would fill them with random numbers
            raise ValueError(f"{len(missing)} tensors of its config are not in its weights, such as `{missing[0]}`")
        return freeze(model, device)


def freeze(model: Any, device: str) -> Any:
    """The model on the device, in evaluation mode, with no trainable parameters."""
    return model.to(device).eval().requires_grad_(False)


def class_name(folder: Path, config: str = "config.json") -> str:
    """The class of the model or scheduler saved in the folder, from its config. Raises IntegrityFailure."""
    with explain_load_errors(folder):
        return str(json.loads((folder / config).read_text(encoding="utf-8"))["_class_name"])


@contextmanager
def explain_load_errors(folder: Path) -> Iterator[None]:
    """Turn the libraries' errors about a damaged or incomplete folder into an IntegrityFailure."""
    try:
        yield
    except CavError:
        raise
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a wrong value in a config may raise anything in the libraries
        if "can't allocate memory" in str(error):
            raise
        text = f"it has no `{error.args[0]}`" if isinstance(error, KeyError) and error.args else str(error)
        reason = text.strip().partition("\n")[0][:_LONGEST] or type(error).__name__
        hint = f"a file in `{folder}` is missing or damaged: download or save the model again"
        raise IntegrityFailure(f"cannot load the model's `{folder.name}`: {reason}", hint=hint) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and log messages of the libraries."""
    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
            library.enable_progress_bar()
