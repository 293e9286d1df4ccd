"""LoRA files for Wan in the layouts of other tools."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cavtool.core.adapters import lora
from cavtool.core.adapters.existing import fit_absorber
from cavtool.core.formats import export, read_absorber, wan
from cavtool.recipes import Layout
from tests.core.test_lora import random_state
from tests.core.test_wan import opened

OURS = ("attn1.to_q", "attn1.to_out.0", "attn2.to_k", "attn2.add_v_proj", "ffn.net.0.proj", "ffn.net.2")
THEIRS = ("self_attn.q", "self_attn.o", "cross_attn.k", "cross_attn.v_img", "ffn.0", "ffn.2")


@pytest.mark.parametrize(
    "written",
    [
        "diffusion_model.blocks.7.{}",  # ComfyUI, ai-toolkit, Kijai
        "diffusion_model.transformer_1.blocks.7.{}",  # ai-toolkit, both experts in one file
        "blocks.7.{}",  # DiffSynth
        "pipe.dit.blocks.7.{}",
        "_blocks_7_{}",  # VideoX-Fun, after `lora_unet_`
        "blocks_7.{}",  # seen in the wild, after `lora_unet_`
    ],
)
def test_the_names_that_other_tools_give_to_layers_are_known(written: str) -> None:
    names = [written.format(name.replace(".", "_") if "_7_" in written else name) for name in THEIRS]
    assert [wan.layer_of(name) for name in names] == [f"transformer.blocks.7.{name}" for name in OURS]


def test_names_are_ours_or_left_alone() -> None:
    for layer in ("transformer_2.blocks.0.attn1.to_q", "transformer.condition_embedder.time_proj"):
        assert wan.layer_of(layer) == layer
    assert wan.layer_of("diffusion_model.head.head") == "transformer.proj_out"
    assert wan.layer_of("diffusion_model.blocks.3.self_attn.q", wan.LOW_NOISE) == "transformer_2.blocks.3.attn1.to_q"
    assert wan.layer_of("diffusion_model.transformer_2.blocks.0.ffn.2") == "transformer_2.blocks.0.ffn.net.2"
    for other in ("down_blocks.0.attentions.0.proj_in", "transformer_in.proj_in", "blocks.0.self_attn.gate"):
        assert wan.layer_of(other) == other
    assert wan.expert_of(Path("twirl_low_noise.safetensors")) == wan.LOW_NOISE
    assert wan.expert_of(Path("WAN-LowNoise-v2.safetensors")) == wan.LOW_NOISE
    assert wan.expert_of(Path("twirl.safetensors")) == wan.expert_of(Path("a_high_noise.pt")) == wan.HIGH_NOISE


@pytest.mark.parametrize("layout", [Layout.DIFFUSERS, Layout.COMFY, Layout.KOHYA])
def test_both_experts_in_every_layout_are_read_back(folder_of: Any, layout: Layout, tmp_path: Path) -> None:
    backbone = opened(folder_of("a14b"))
    state = random_state(backbone, backbone.spatial_targets(), 1)
    files = export.write(state, layout, "style")
    loras: lora.LoraState = {}
    assert list(files) == ["high_noise", "low_noise"]
    for suffix, file in files.items():
        lora.save(file.tensors, tmp_path / f"style_{suffix}.safetensors", file.metadata)
        found = read_absorber(tmp_path / f"style_{suffix}.safetensors")
        fitted, unused = fit_absorber(backbone, found, 1.0, name="style", model="wan")
        assert not unused
        loras |= fitted
    assert loras.keys() == state.keys()
    assert all(torch.equal(loras[key], state[key]) for key in state)


def test_alphas_are_read_from_the_layers_or_from_the_header(folder_of: Any, tmp_path: Path) -> None:
    """Kijai's files and those of musubi-tuner have one for each layer, those of diffusers one in the header."""
    layer, A, B = "transformer.blocks.0.attn1.to_q", torch.ones(2, 36), torch.ones(36, 2)
    matrices = {"lora_down.weight": A, "lora_up.weight": B, "alpha": torch.tensor(1.0)}
    header = json.dumps({"transformer.lora_alpha": 1, "transformer.r": 2})
    files: dict[str, tuple[dict[str, torch.Tensor], dict[str, str]]] = {
        "kijai": ({f"diffusion_model.blocks.0.self_attn.q.{key}": each for key, each in matrices.items()}, {}),
        "musubi": ({f"lora_unet_blocks_0_self_attn_q.{key}": each for key, each in matrices.items()}, {}),
        "diffusers": (lora.state_of({layer: (A, B)}), {"lora_adapter_metadata": header}),
    }
    for name, (tensors, metadata) in files.items():
        lora.save(tensors, tmp_path / f"{name}.safetensors", {"format": "pt", **metadata})
        ((found, (_, scaled)),) = read_absorber(tmp_path / f"{name}.safetensors").loras.items()
        assert (found, float(scaled[0, 0])) == (layer, 0.5), name
