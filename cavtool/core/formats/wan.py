"""The names that other tools give to the layers of Wan in LoRA files.

Most use those of Wan's own code, `blocks.N.self_attn.q`, with a prefix of their own:

- ComfyUI, ai-toolkit, diffusion-pipe: `diffusion_model.`, matrices `lora_A` and `lora_B`; Kijai's
  ComfyUI-WanVideoWrapper and lightx2v also `lora_down` and `lora_up`, with an alpha or without
- musubi-tuner: `lora_unet_blocks_N_self_attn_q`; VideoX-Fun has two underscores before `blocks`
- DiffSynth: no prefix, or `pipe.dit.`
- diffusers: `transformer.blocks.N.attn1.to_q`, the names of this package

A file is for one expert of Wan 2.2 A14B, and only its name says for which: `…high_noise`, `…low_noise`. Files of
ai-toolkit can hold both, with `transformer_1.` (high noise) and `transformer_2.` before `blocks`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

HIGH_NOISE, LOW_NOISE = "transformer", "transformer_2"
SUFFIXES = {HIGH_NOISE: "high_noise", LOW_NOISE: "low_noise"}

_NAME = re.compile(
    r"(?:diffusion_model_|pipe_dit_|_)?(?:(?P<expert>transformer(?:_[12])?)_)?"
    r"(?:blocks_(?P<number>\d+)_(?P<module>self_attn|cross_attn|attn1|attn2|ffn)_)?(?P<layer>\w+)"
)
_EXPERTS = {"transformer": HIGH_NOISE, "transformer_1": HIGH_NOISE, "transformer_2": LOW_NOISE}
_MODULES = {"attn1": "self_attn", "attn2": "cross_attn", "ffn": "ffn"}
_LAYERS = {
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "o",
    "add_k_proj": "k_img",
    "add_v_proj": "v_img",
    "net.0.proj": "0",
    "net.2": "2",
}
_OUTSIDE = {  # of the blocks
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "patch_embedding": "patch_embedding",
    "proj_out": "head.head",
}


def _by_underscores(names: dict[str, str]) -> dict[str, str]:
    """Our name by theirs and by our own, dots replaced, which musubi-tuner does."""
    return {each.replace(".", "_"): ours for ours, theirs in names.items() for each in (ours, theirs)}


_OUR_MODULES, _OUR_LAYERS, _OUR_OUTSIDE = map(_by_underscores, (_MODULES, _LAYERS, _OUTSIDE))
_OUR_LAYERS["to_out_0_0"] = "to_out.0"  # seen in the wild


def layer_of(name: str, expert: str = HIGH_NOISE) -> str:
    """The layer of a backbone for the name of one in a file; unchanged if it is none of Wan.

    `expert` is the one that layers without an expert belong to.
    """
    match = _NAME.fullmatch(name.replace(".", "_"))
    if match is None:
        return name
    part = _EXPERTS[match["expert"]] if match["expert"] in {"transformer_1", "transformer_2"} else expert
    if match["number"]:
        layer = _OUR_LAYERS.get(match["layer"])
        return f"{part}.blocks.{match['number']}.{_OUR_MODULES[match['module']]}.{layer}" if layer else name
    outside = _OUR_OUTSIDE.get(match["layer"])
    return f"{part}.{outside}" if outside else name


def expert_of(path: Path) -> str:
    """The expert that a file is for, by its name: the high-noise one, or the only one, unless it says low noise."""
    return LOW_NOISE if re.search(r"low[-_ ]?noise", path.stem, re.IGNORECASE) else HIGH_NOISE


def only_expert(layers: Iterable[str]) -> str:
    """The expert of Wan 2.2 A14B that all layers belong to, in words; empty if they belong to both."""
    found = {layer.partition(".")[0] for layer in layers}
    return {HIGH_NOISE: "high-noise", LOW_NOISE: "low-noise"}.get(found.pop(), "") if len(found) == 1 else ""


def native_name(layer: str) -> str:
    """A layer of a backbone in the names of Wan's own code, without its expert."""
    name = layer.partition(".")[2]
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    block, number, module, projection = name.split(".", 3)
    return ".".join((block, number, _MODULES[module], _LAYERS[projection]))
