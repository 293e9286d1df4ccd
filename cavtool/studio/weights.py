"""What a weights file says about itself."""

import json
from collections.abc import Sequence
from typing import Any

from cavtool.core.adapters.heads import Heads
from cavtool.core.adapters.lora import key_of
from cavtool.registry.record import Record


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
