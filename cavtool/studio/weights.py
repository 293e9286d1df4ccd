"""Files of weights: what they say about themselves, and how they are written."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from cavtool.core.adapters import lora
from cavtool.core.adapters.heads import Heads
from cavtool.core.adapters.lora import LoraState, key_of
from cavtool.registry.record import Record
from cavtool.registry.weights import check_weights


def save_weights(state: LoraState, path: Path, draft: Record, metadata: Mapping[str, str] | None = None) -> None:
    """Write the weights of an asset to be put, with `metadata` besides its own.

    Raises IntegrityFailure if they are not finite.
    """
    lora.save(state, path, {**file_metadata(draft, lora.targets(state)), **(metadata or {})})
    check_weights(path, draft.name, draft.kind)


def save_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors. Raises OSError if the disk refuses."""
    try:
        save_file(dict(state), path)
    except SafetensorError as error:
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise


def file_metadata(draft: Record, targets: Sequence[str]) -> dict[str, str]:
    """The required keys of ModelSpec 1.0.1, and what diffusers reads of a LoRA: alpha equals rank.

    A mix also has `merged_from`, the content ids of its motions.
    """
    metadata = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{draft.fingerprint}/{'lora' if draft.rank else 'textual-inversion'}",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "temporal LoRA" if draft.kind == "motion" else "appearance absorber",
    }
    if draft.parents:
        metadata["modelspec.merged_from"] = ",".join(parent.content_id[:12] for parent in draft.parents)
    if not draft.rank:
        return metadata
    layers: dict[str, list[str]] = {}  # by model: `unet`, or `transformer` and `transformer_2`
    for target in targets:
        part, _, layer = key_of(target).partition(".")
        layers.setdefault(part, []).append(layer)
    spec: dict[str, Any] = {}
    for part, names in layers.items():
        values = {"r": draft.rank, "lora_alpha": draft.rank, "target_modules": names}
        spec |= {f"{part}.{key}": value for key, value in values.items()}
    return metadata | {"lora_adapter_metadata": json.dumps(spec)}


def heads_metadata(heads: Heads) -> dict[str, str]:
    """The numbers of the heads that look across frames, by attention layer; {} if the model has no such heads."""
    numbers = {layer: mask_H.nonzero().flatten().tolist() for layer, mask_H in heads.items()}
    return {"cav.temporal_heads": json.dumps(numbers)} if heads else {}
