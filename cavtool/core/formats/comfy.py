"""LoRA files of Wan in the layout of ComfyUI, ai-toolkit and diffusion-pipe, which diffusers reads too.

`diffusion_model.blocks.N.self_attn.q.lora_A.weight` (R, in) and `lora_B.weight` (out, R), with the layer names of Wan's
own code and alpha = rank. Files of ai-toolkit with both experts of Wan 2.2 have `transformer_1.` (high noise) and
`transformer_2.` (low noise) before `blocks`; other tools read one file an expert.
"""

from collections.abc import Mapping

from torch import Tensor

from cavtool.core.adapters.lora import pairs_of

_PREFIX = "diffusion_model."
_EXPERTS = {"transformer": "transformer_1", "transformer_2": "transformer_2"}  # in diffusers, in ai-toolkit
_SUFFIXES = {"transformer": "high_noise", "transformer_2": "low_noise"}
_NAMES = (
    ("attn1", "self_attn"),
    ("attn2", "cross_attn"),
    ("to_out.0", "o"),
    ("to_q", "q"),
    ("to_k", "k"),
    ("to_v", "v"),
    ("add_k_proj", "k_img"),
    ("add_v_proj", "v_img"),
    ("net.0.proj", "0"),
    ("net.2", "2"),
)


def write(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each file by its suffix: `high_noise` and `low_noise` for two experts, an empty one for one.

    Raises IntegrityFailure if the state holds no LoRA.
    """
    files: dict[str, dict[str, Tensor]] = {}
    for layer, (A, B) in pairs_of(state).items():
        expert, _, name = layer.partition(".")
        before = _PREFIX + _renamed(name, to_comfy=True)
        files.setdefault(_SUFFIXES[expert], {}).update(
            {f"{before}.lora_A.weight": A.contiguous(), f"{before}.lora_B.weight": B.contiguous()}
        )
    return files if len(files) > 1 else dict(zip([""], files.values(), strict=True))


def layer_of(name: str) -> str:
    """The layer of a backbone for the name of one in a file; unchanged if it is in another layout."""
    if not name.startswith(_PREFIX):
        return name
    name = name.removeprefix(_PREFIX)
    for ours, theirs in _EXPERTS.items():
        if name.startswith(f"{theirs}."):
            return f"{ours}.{_renamed(name.removeprefix(f'{theirs}.'), to_comfy=False)}"
    return f"transformer.{_renamed(name, to_comfy=False)}"


def _renamed(name: str, *, to_comfy: bool) -> str:
    """`blocks.N.attn1.to_q` to `blocks.N.self_attn.q`, or back."""
    block, number, module, *rest = name.split(".")
    layer = ".".join(rest)
    table = dict(_NAMES) if to_comfy else {theirs: ours for ours, theirs in _NAMES}
    return ".".join([block, number, table.get(module, module), table.get(layer, layer)])
