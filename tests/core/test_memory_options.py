"""The memory options, on small models: what they change, and what they must not change."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from cavtool.core.adapters import lora
from cavtool.core.adapters.existing import WEIGHTS, applied
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones import memory as backbone_memory
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.memory import apply, check_options, is_offloaded, is_quantized
from cavtool.core.backbones.parts import vae
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.core.backbones.protocol import Backbone
from cavtool.core.devices import resolve_dtype
from cavtool.core.distributed import Share
from cavtool.core.losses import denoising_loss
from cavtool.core.noise import step_generator
from cavtool.errors import Incompatible, InvalidInput, RequirementError
from cavtool.recipes import NO_SAVING, MemoryOptions, Quantize
from tests.small_models import save_wan

CHECKPOINTING = replace(NO_SAVING, gradient_checkpointing=True)
OFFLOAD = replace(NO_SAVING, offload=True)
EIGHT_BIT = replace(NO_SAVING, quantize=Quantize.EIGHT_BIT)


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_wan(tmp_path_factory.mktemp("memory") / "wan")


@pytest.fixture(params=["modelscope", "animatediff", "wan"])
def any_folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def opened(folder: Path, memory: MemoryOptions = NO_SAVING) -> Backbone:
    return open_backbone(folder, device="cpu", dtype="fp32", memory=memory)


def latents_of(backbone: Backbone, num_videos: int = 2) -> Tensor:
    shape = backbone.latent_shape(5, 32, 32)
    return torch.randn((num_videos, *shape[1:]), generator=torch.Generator().manual_seed(0))


def trained_step(backbone: Backbone, *, alone: bool = False) -> tuple[dict[str, Tensor], int]:
    """The gradients of a T-LoRA in one step, and the bytes that autograd kept for the backward pass."""
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 4, seed=0)
    if alone:  # a spatial one, while the layers along time are bypassed
        lora.remove_all(backbone.denoiser)
        params = lora.inject(backbone.denoiser, "cav_motion", backbone.spatial_targets(), 4, seed=0)
    for param in params.values():
        param.data += 0.02
    text, kept = backbone.encode_text(["a red cat"]), 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if alone:
            with backbone.without_time():
                loss = denoising_loss(backbone, latents_of(backbone), text, step_generator(0, 0))
        else:
            loss = denoising_loss(backbone, latents_of(backbone), text, step_generator(0, 0))
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {key: param.grad.clone() for key, param in params.items() if param.grad is not None}
    lora.remove_all(backbone.denoiser)
    return gradients, kept


def assert_equal_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-4)
    assert max(value.abs().max() for value in expected.values()) > 1e-4


@pytest.mark.parametrize("alone", [False, True], ids=["motion", "absorber"])
def test_checkpointing_gives_the_same_gradients_and_keeps_less(any_folder: Path, alone: bool) -> None:
    backbone = opened(any_folder)
    expected, usual = trained_step(backbone, alone=alone)
    apply(backbone, CHECKPOINTING)
    found, kept = trained_step(backbone, alone=alone)
    assert_equal_gradients(found, expected)
    assert kept < 0.5 * usual
    apply(backbone, NO_SAVING)
    assert trained_step(backbone, alone=alone)[1] == usual, "checkpointing can be switched off again"


@pytest.mark.parametrize(
    "kind", ["TransformerTemporalModel", "TemporalConvLayer", "ResnetBlock2D", "Transformer2DModel"]
)
def test_checkpointing_covers_layers_that_diffusers_leaves_out(modelscope: Path, kind: str) -> None:
    backbone = opened(modelscope, CHECKPOINTING)
    layers = [layer for layer in backbone.denoiser.modules() if type(layer).__name__ == kind]
    num_calls = dict.fromkeys(layers, 0)
    for layer in layers:

        def count(*_: Any, layer: torch.nn.Module = layer) -> None:
            num_calls[layer] += 1

        first = next(module for module in layer.modules() if not list(module.children()))
        first.register_forward_hook(count)
    trained_step(backbone)
    assert set(num_calls.values()) == {2}, "once in the forward pass, once in the backward pass"


def test_offloaded_weights_are_there_only_while_they_are_used(any_folder: Path) -> None:
    usual, backbone = opened(any_folder), opened(any_folder, OFFLOAD)
    expected, found = trained_step(usual)[0], trained_step(backbone)[0]
    assert_equal_gradients(found, expected)
    assert is_offloaded(backbone.denoiser)
    assert all(param.is_meta for param in backbone.denoiser.parameters())
    state = random_lora(usual)
    assert_same_prediction(backbone, usual, state)
    assert all(param.is_meta for param in backbone.denoiser.parameters())


def test_offloading_after_checkpointing_keeps_both(any_folder: Path) -> None:
    """As when memory runs out in a training that has checkpointing already."""
    usual, backbone = opened(any_folder), opened(any_folder, CHECKPOINTING)
    apply(backbone, replace(CHECKPOINTING, offload=True))
    expected, kept = trained_step(usual)
    found, kept_with_both = trained_step(backbone)
    assert_equal_gradients(found, expected)
    assert kept_with_both < kept
    assert is_offloaded(backbone.denoiser)


def random_lora(backbone: Backbone) -> lora.LoraState:
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 2, seed=1)
    state = {key: value + 0.05 for key, value in lora.extract(params).items()}
    lora.remove_all(backbone.denoiser)
    return state


def predict(backbone: Backbone) -> Tensor:
    with torch.no_grad():
        return backbone.predict(latents_of(backbone), torch.tensor([500, 900]), backbone.encode_text(["a red cat"]))


def assert_same_prediction(backbone: Backbone, usual: Backbone, state: lora.LoraState) -> None:
    """A LoRA has the same effect beside the weights as merged into them, and none afterwards."""
    bare = predict(backbone)
    with (
        merged(usual.denoiser, [(state, 0.5), (state, 0.25)]),
        merged(backbone.denoiser, [(state, 0.5), (state, 0.25)]),
    ):
        expected, found = predict(usual), predict(backbone)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (found - bare).abs().max() > 1e-3
    assert torch.equal(predict(backbone), bare)


def test_a_lora_beside_the_weights_leaves_others_as_they_are(modelscope: Path) -> None:
    backbone = opened(modelscope, OFFLOAD)
    state = random_lora(backbone)
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 2, seed=1)
    flags = [param.requires_grad for param in params.values()]
    before = predict(backbone)
    with merged(backbone.denoiser, [(state, 1.0)]):
        assert not torch.equal(predict(backbone), before)
    assert torch.equal(predict(backbone), before)
    assert [param.requires_grad for param in params.values()] == flags == [True] * len(flags)
    assert {name for name, _ in backbone.denoiser.named_parameters() if "cav_beside" in name} == set()


def test_a_whole_unet_cannot_stand_in_for_offloaded_weights(modelscope: Path) -> None:
    backbone = opened(modelscope, OFFLOAD)
    name = backbone.spatial_parameters()[0]
    with pytest.raises(Incompatible, match="--offload"), applied(backbone, {WEIGHTS + name: torch.zeros(1)}):
        pass


def test_eight_bit_weights_without_torchao_are_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone_memory, "find_spec", lambda _: None)
    with pytest.raises(RequirementError) as caught:
        check_options(EIGHT_BIT)
    assert caught.value.hint == "`pip install 'cavtool[quantize]'`"


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs torchao")
@pytest.mark.filterwarnings("ignore")
def test_eight_bit_weights_train_and_sample_without_being_merged(any_folder: Path) -> None:
    usual, backbone = opened(any_folder), opened(any_folder, EIGHT_BIT)
    assert is_quantized(backbone.denoiser)
    expected, found = trained_step(usual)[0], trained_step(backbone)[0]
    flat_expected, flat_found = (torch.cat([each.flatten() for each in group.values()]) for group in (expected, found))
    assert torch.nn.functional.cosine_similarity(flat_expected, flat_found, dim=0) > 0.99
    state, bare = random_lora(backbone), predict(backbone)
    with merged(backbone.denoiser, [(state, 1.0)]):
        assert (predict(backbone) - bare).abs().max() > 1e-3
    assert torch.equal(predict(backbone), bare)


def test_a_compiled_denoiser_predicts_the_same(wan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def compiler(graph: Any, _: Any) -> Callable[..., Any]:
        graphs.append(graph)
        forward: Callable[..., Any] = graph.forward
        return forward

    monkeypatch.setattr(backbone_memory, "COMPILER", compiler)
    expected = predict(opened(wan))
    torch.testing.assert_close(predict(opened(wan, replace(NO_SAVING, compile=True))), expected, atol=1e-5, rtol=0)
    assert graphs


def test_large_frames_are_encoded_and_decoded_in_smaller_chunks(
    backbone: UNetBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    latents = backbone.encode_clip(frames)
    decoded, sizes = backbone.decode(latents), []
    monkeypatch.setattr(vae, "_CHUNK_PIXELS", 2 * 32 * 32)
    decode = vae._decode  # noqa: SLF001

    def recording(model: Any, chunk: Tensor) -> Any:
        sizes.append(len(chunk))
        return decode(model, chunk)

    monkeypatch.setattr(vae, "_decode", recording)
    torch.testing.assert_close(backbone.encode_clip(frames), latents, atol=1e-5, rtol=0)
    assert np.abs(backbone.decode(latents).astype(int) - decoded.astype(int)).max() <= 1
    assert sizes == [2, 2, 1]


def test_sdpa_of_accelerators_predicts_the_same(backbone: UNetBackbone) -> None:
    expected = predict(backbone)
    backbone.denoiser.set_attn_processor(AttnProcessor2_0())
    torch.testing.assert_close(predict(backbone), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_of_a_batch_add_up_to_it(modelscope_backbone: UNetBackbone, count: int) -> None:
    backbone = modelscope_backbone
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 2, seed=0)
    latents, text = latents_of(backbone, 3), backbone.encode_text(["a red cat"])

    def gradients(shares: list[Share]) -> list[Tensor]:
        for share in shares:
            loss = denoising_loss(backbone, latents, text, step_generator(0, 4), share=share) / len(shares)
            loss.backward()  # type: ignore[no-untyped-call]
        found = [param.grad for param in params.values() if param.grad is not None]
        for param in params.values():
            param.grad = None
        return found

    whole, parts = gradients([Share()]), gradients([Share(index, count) for index in range(count)])
    assert len(whole) == len(parts) > 0
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_fp16_needs_an_accelerator() -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve_dtype("fp16", "cpu", training=True)
    assert caught.value.hint == "use `--dtype bf16` or fp32"


def test_memory_options_are_tried_from_the_cheapest_on_and_those_of_the_user_stay() -> None:
    def options(memory: MemoryOptions, batch_size: int = 2) -> list[str]:
        return [str(candidate) for candidate in memory.candidates(batch_size, can_offload=True)]

    parts, checkpointing = "--gradient-accumulation-steps 2", "--gradient-checkpointing"
    assert options(MemoryOptions()) == [
        "none",
        parts,
        f"{parts} {checkpointing}",
        f"{parts} {checkpointing} --offload",
    ]
    assert options(MemoryOptions(1, gradient_checkpointing=True, offload=False)) == [checkpointing]
    assert options(MemoryOptions(gradient_checkpointing=False, quantize=Quantize.EIGHT_BIT), 1) == ["--quantize 8bit"]
    with pytest.raises(InvalidInput, match="exclude each other"):
        MemoryOptions(offload=True, quantize=Quantize.EIGHT_BIT)


def test_a_tiled_vae_decodes_frames_of_the_same_size(modelscope: Path) -> None:
    latents = torch.randn(1, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    usual, tiled = (opened(modelscope, replace(NO_SAVING, vae_tiling=on)).decode(latents) for on in (False, True))
    assert usual.shape == tiled.shape
    assert (usual != tiled).any(), "frames of 64 pixels are more than one tile of this VAE"
