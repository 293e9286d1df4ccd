import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cavtool.core.adapters import lora
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.core.backbones.protocol import Backbone
from cavtool.errors import Incompatible, IntegrityFailure


def random_state(backbone: Backbone, targets: list[str], seed: int, rank: int = 3) -> lora.LoraState:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name in targets:
        layer: Any = backbone.denoiser.get_submodule(name)
        out_features, in_features = layer.weight.flatten(1).shape
        state[f"{lora.key_of(name)}.lora_A.weight"] = torch.randn(rank, in_features, generator=generator) / 4
        state[f"{lora.key_of(name)}.lora_B.weight"] = torch.randn(out_features, rank, generator=generator) / 4
    return state


def weights(backbone: UNetBackbone) -> dict[str, Tensor]:
    return copy.deepcopy(backbone.denoiser.state_dict())


def test_merging_adds_each_motion_with_its_weight_and_restores_the_original_tensors(backbone: UNetBackbone) -> None:
    before = weights(backbone)
    layer = backbone.temporal_targets()[0]
    storage = backbone.denoiser.get_submodule(layer).weight.data_ptr()
    first, second = (random_state(backbone, backbone.temporal_targets(), seed) for seed in (1, 2))
    with merged(backbone.denoiser, [(first, 1.0), (second, 0.7)]):
        key_a, key_b = f"unet.{layer}.lora_A.weight", f"unet.{layer}.lora_B.weight"
        expected = before[f"{layer}.weight"] + first[key_b] @ first[key_a] + 0.7 * (second[key_b] @ second[key_a])
        torch.testing.assert_close(backbone.denoiser.get_submodule(layer).weight.data, expected)
    after = backbone.denoiser.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert backbone.denoiser.get_submodule(layer).weight.data_ptr() == storage


def test_the_original_weights_are_restored_after_an_error(backbone: UNetBackbone) -> None:
    before = weights(backbone)
    state = random_state(backbone, backbone.temporal_targets(), 1)
    with pytest.raises(ZeroDivisionError), merged(backbone.denoiser, [(state, 1.0)]):
        raise ZeroDivisionError
    after = backbone.denoiser.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_merged_weights_predict_as_the_injected_adapter_does(backbone: UNetBackbone) -> None:
    state = random_state(backbone, backbone.temporal_targets(), 3)
    latents = torch.randn(1, 4, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps, text = torch.tensor([500]), backbone.encode_text(["a red cat"])
    with torch.no_grad():
        base = backbone.predict(latents, timesteps, text)
        with merged(backbone.denoiser, [(state, 1.0)]):
            with_it = backbone.predict(latents, timesteps, text)
        lora.load_into(backbone.denoiser, "cav_motion", state)
        injected = backbone.predict(latents, timesteps, text)
        lora.remove_all(backbone.denoiser)
        removed = backbone.predict(latents, timesteps, text)
    torch.testing.assert_close(with_it, injected, atol=1e-5, rtol=0)
    assert (with_it - base).abs().max() > 1e-3
    assert torch.equal(base, removed)


def test_a_new_lora_changes_nothing_and_nothing_else_is_trainable(backbone: UNetBackbone) -> None:
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 4, seed=7)
    trainable = [name for name, param in backbone.denoiser.named_parameters() if param.requires_grad]
    assert len(trainable) == len(params) == 2 * len(backbone.temporal_targets())
    assert all("cav_motion" in name for name in trainable)
    assert all(param.abs().sum() == 0 for key, param in params.items() if "lora_B" in key)


def test_a_second_adapter_leaves_the_first_frozen(backbone: UNetBackbone) -> None:
    absorber = random_state(backbone, backbone.spatial_targets(), 5)
    lora.load_into(backbone.denoiser, "cav_absorber", absorber)
    lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 4, seed=7)
    assert not [n for n, p in backbone.denoiser.named_parameters() if "cav_absorber" in n and p.requires_grad]


def test_the_initial_weights_depend_on_the_seed_alone(backbone: UNetBackbone) -> None:
    starts, layer = [], backbone.temporal_targets()[0]
    for _ in range(2):
        starts.append(lora.extract(lora.inject(backbone.denoiser, "cav_motion", [layer], 4, seed=7)))
        lora.remove_all(backbone.denoiser)
    assert all(torch.equal(starts[0][key], starts[1][key]) for key in starts[0])


def test_a_lora_of_other_shapes_is_refused(backbone: UNetBackbone) -> None:
    layer = backbone.temporal_targets()[0]
    state = {f"unet.{layer}.lora_A.weight": torch.zeros(2, 7), f"unet.{layer}.lora_B.weight": torch.zeros(9, 2)}
    with pytest.raises(Incompatible, match="to_q"), merged(backbone.denoiser, [(state, 1.0)]):
        pass


def test_a_file_without_lora_weights_is_refused(backbone: UNetBackbone) -> None:
    with pytest.raises(IntegrityFailure), merged(backbone.denoiser, [({"x": torch.zeros(1)}, 1.0)]):
        pass


def test_the_same_weights_always_make_the_same_file(tmp_path: Path) -> None:
    state = {f"unet.layer{i}.lora_A.weight": torch.arange(i + 1.0) for i in range(20)}
    metadata = {f"key{i}": f"wörd {i}" for i in range(20)}
    hashes = set()
    for i in range(5):
        lora.save(state, tmp_path / f"{i}", metadata)
        hashes.add(hashlib.sha256((tmp_path / f"{i}").read_bytes()).hexdigest())
    assert len(hashes) == 1

    from safetensors import safe_open

    with safe_open(tmp_path / "0", "pt") as file:
        assert file.metadata() == metadata
        assert torch.equal(file.get_tensor("unet.layer7.lora_A.weight"), torch.arange(8.0))
