"""How well a clip shows what its prompt asks for."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cavtool.errors import RequirementError

Frames = NDArray[np.uint8]

CLIP = "openai/clip-vit-large-patch14"


def attribute_alignment(requested: Mapping[str, str], seen: Mapping[str, str]) -> float | None:
    """The share of the requested attributes (subject, colour, place) that are seen; None if none is requested."""
    asked = {name: value for name, value in requested.items() if value}
    return float(np.mean([seen[name] == value for name, value in asked.items()])) if asked else None


def clip_alignment(frames_FHWC: Frames, prompt: str) -> float:
    """CLIPScore (Hessel et al. 2021) with ViT-L/14: 100 times the cosine of frame and prompt, averaged over frames.

    Frames are RGB uint8. Nothing is downloaded: raises RequirementError unless the weights are in the cache of Hugging
    Face. torchmetrics 1.9 has the same score, but fails with transformers 5.
    """
    folder = _clip_folder()
    from cavtool.core.backbones.parts.clip import clip_cosine

    return 100 * max(0.0, clip_cosine(folder, frames_FHWC, prompt))


def clip_truncated(prompt: str) -> str:
    """The end of the prompt that CLIP does not read; empty if it reads all of it. Raises RequirementError."""
    folder = _clip_folder()
    from cavtool.core.backbones.parts.clip import truncated

    return truncated(folder, prompt)


def _clip_folder() -> Path:
    from huggingface_hub import try_to_load_from_cache

    files = [try_to_load_from_cache(CLIP, name) for name in ("config.json", "tokenizer.json", "model.safetensors")]
    paths = [Path(file) for file in files if isinstance(file, str)]
    if len(paths) < len(files):
        raise RequirementError(f"`{CLIP}` is not on this machine", hint=f"`hf download {CLIP}`")
    return paths[0].parent
