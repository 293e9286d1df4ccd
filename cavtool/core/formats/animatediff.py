"""The names that AnimateDiff's own code gives to the layers of motion modules in LoRA files (MotionLoRA).

`….motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.processor.to_q_lora.down.weight`, where
diffusers has `….motion_modules.0.transformer_blocks.0.attn1.to_q`; the scale is 1. ComfyUI-AnimateDiff-Evolved reads
such files too, and ignores an alpha.
"""

import re

_THEIRS, _OURS = ".temporal_transformer.", ".motion_modules."


def layer_of(name: str) -> str:
    """The layer of a backbone for the name of one in a file; unchanged if it is in another layout."""
    if _THEIRS not in name:
        return name
    return re.sub(r"\.attention_blocks\.([01])\.", lambda n: f".attn{int(n[1]) + 1}.", name.replace(_THEIRS, "."))


def is_temporal(layer: str) -> bool:
    """Whether a layer is in a motion module."""
    return _OURS in layer


def key_of(layer: str) -> str:
    """The name of a layer's LoRA in a file, up to `_lora`: the inverse of `layer_of`."""
    owner, _, projection = layer.removesuffix(".0").rpartition(".")
    owner = re.sub(r"\.attn([12])$", lambda n: f".attention_blocks.{int(n[1]) - 1}", owner)
    return f"{owner.replace('.transformer_blocks.', f'{_THEIRS}transformer_blocks.', 1)}.processor.{projection}"
