"""What a weights file says about itself."""

import json
from collections.abc import Sequence
from typing import Any

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
    spec: dict[str, Any] = {"r": draft.rank, "lora_alpha": draft.rank, "target_modules": list(targets)}
    return metadata | {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in spec.items()})}
