"""Loading the models of a diffusers pipeline folder: no progress bars, and errors that name the damaged model."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import __version__ as diffusers_version
from diffusers.utils import logging as diffusers_logging
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from cavtool.core.devices import is_out_of_memory
from cavtool.errors import CavError, Incompatible, IntegrityFailure, reason_of
from cavtool.system.safetensors import find_weights
from cavtool.system.versions import is_newer

_LONGEST = 200  # characters of a library's message


def load_model(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """One model of the pipeline on the CPU, frozen and in evaluation mode.

    Raises IntegrityFailure if it cannot be loaded, Incompatible if it is newer than the library.
    """
    key = "dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"
    with explain_load_errors(folder), quiet():
        weights = find_weights(folder)
        variant = weights.variant if weights else None
        model, found = kind.from_pretrained(folder, variant=variant, output_loading_info=True, **{key: dtype})
    _check_layers(folder, found)
    return freeze(model)


def _check_layers(folder: Path, found: Mapping[str, Any]) -> None:
    """Raise IntegrityFailure for layers without weights, and for weights that only a newer library has layers for."""
    saved_by = str(_config(folder).get("_diffusers_version", ""))
    missing, unknown = sorted(found["missing_keys"]), sorted(found["unexpected_keys"])
    if unknown and is_newer(saved_by, diffusers_version):
        message = f"the model's `{folder.name}` is newer than the library: it has a `{unknown[0]}`"
        hint = f"saved by diffusers {saved_by}, installed is {diffusers_version}: `pip install -U diffusers`"
        raise Incompatible(message, hint=hint)
    if missing:
        message = f"the model's `{folder.name}` is not complete: weights for its `{missing[0]}` are missing"
        raise IntegrityFailure(message, hint="download it again; its config and its weights must belong together")


def freeze(model: Any) -> Any:
    """The model in evaluation mode, with no trainable parameters."""
    return model.eval().requires_grad_(False)


def class_name(folder: Path, config: str = "config.json") -> str:
    """The class of the model or scheduler saved in the folder, from its config. Raises IntegrityFailure."""
    with explain_load_errors(folder):
        return str(_config(folder, config)["_class_name"])


def _config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    return dict(json.loads((folder / name).read_text(encoding="utf-8")))


@contextmanager
def explain_load_errors(folder: Path) -> Iterator[None]:
    """Turn the libraries' errors about a damaged or incomplete folder into an IntegrityFailure."""
    try:
        yield
    except CavError:
        raise
    except Exception as error:  # a wrong value in a config may raise anything in the libraries
        if is_out_of_memory(error):
            raise
        reason = reason_of(error).strip().partition("\n")[0][:_LONGEST] or type(error).__name__
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
