"""Loading the models of a diffusers pipeline folder: no progress bars, and errors that name the damaged model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from cavtool.errors import IntegrityFailure
from cavtool.system.safetensors import find_weights


def load_model(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """One model of the pipeline on the CPU, frozen and in evaluation mode. Raises IntegrityFailure if damaged."""
    key = "dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"
    with explain_load_errors(folder), quiet():
        weights = find_weights(folder)
        variant = weights.variant if weights else None
        return freeze(kind.from_pretrained(folder, variant=variant, **{key: dtype}))


def freeze(model: Any) -> Any:
    """The model in evaluation mode, with no trainable parameters."""
    return model.eval().requires_grad_(False)


def class_name(folder: Path, config: str = "config.json") -> str:
    """The class of the model or scheduler saved in the folder, from its config. Raises IntegrityFailure."""
    with explain_load_errors(folder):
        return str(json.loads((folder / config).read_text(encoding="utf-8"))["_class_name"])


@contextmanager
def explain_load_errors(folder: Path) -> Iterator[None]:
    """Turn the libraries' errors about a damaged or incomplete folder into an IntegrityFailure."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, SafetensorError) as error:
        raise IntegrityFailure(f"cannot load the model's `{folder.name}`: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and log messages of the libraries."""
    diffusers_level = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(diffusers_level)
        for library in (diffusers_logging, transformers_logging):
            library.enable_progress_bar()
