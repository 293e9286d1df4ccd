import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.unet3d import UNet3DBackbone
from cavtool.errors import Incompatible, IntegrityFailure, InvalidInput, RequirementError


def predict(backbone: UNet3DBackbone, latents: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return backbone.predict(latents, torch.tensor([400]), backbone.encode_text(["a red cat"]))


def test_without_time_the_order_of_frames_changes_nothing(backbone: UNet3DBackbone) -> None:
    latents = torch.randn(1, 4, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    with backbone.without_time():
        straight, shuffled = predict(backbone, latents), predict(backbone, latents[:, :, order])
        alone = predict(backbone, latents[:, :, 2:3])
    torch.testing.assert_close(shuffled, straight[:, :, order], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, straight[:, :, 2:3], atol=1e-5, rtol=0)
    with_time = predict(backbone, latents), predict(backbone, latents[:, :, order])
    assert (with_time[1] - with_time[0][:, :, order]).abs().max() > 1e-3


def test_time_is_back_after_an_error(backbone: UNet3DBackbone) -> None:
    latents = torch.randn(1, 4, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    before = predict(backbone, latents)
    with pytest.raises(ZeroDivisionError), backbone.without_time():
        raise ZeroDivisionError
    assert torch.equal(predict(backbone, latents), before)


def test_temporal_and_spatial_targets_share_nothing_and_miss_nothing(backbone: UNet3DBackbone) -> None:
    temporal, spatial = backbone.temporal_targets(), backbone.spatial_targets()
    projections = [
        n for n, _ in backbone.denoiser.named_modules() if n.endswith((".to_q", ".to_k", ".to_v", "to_out.0"))
    ]
    assert sorted(temporal + spatial) == sorted(projections)
    assert any(name.startswith("transformer_in.") for name in temporal)
    assert not any("temp" in name or "transformer_in" in name for name in spatial)


def test_frames_go_to_latents_and_back_at_their_size(backbone: UNet3DBackbone) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    latents = backbone.encode(frames)
    assert latents.shape == backbone.latent_shape(3, 32, 32) == (1, 4, 3, 4, 4)
    decoded = backbone.decode(latents)
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8


def test_a_learned_token_stands_at_the_star_and_else_at_the_end(backbone: UNet3DBackbone) -> None:
    token = backbone.token_like("cat", 1)
    plain = backbone.encode_text(["a red cat"])
    assert torch.allclose(backbone.encode_text(["a red *"], token), plain, atol=1e-5)
    assert torch.allclose(backbone.encode_text(["a red"], token), plain, atol=1e-5)
    assert not torch.allclose(backbone.encode_text(["a red"], token * 5), plain, atol=1e-3)
    assert torch.equal(backbone.encode_text(["a red cat"]), plain)


def test_a_token_learns_and_the_text_encoder_does_not(backbone: UNet3DBackbone) -> None:
    token = torch.nn.Parameter(backbone.token_like("cat", 2))
    backbone.encode_text(["a red *"], token).square().sum().backward()  # type: ignore[no-untyped-call]
    assert token.grad is not None
    assert (token.grad.abs().sum(1) > 0).all()
    assert all(param.grad is None for param in backbone.text_encoder.parameters())


def test_too_many_words_never_push_the_learned_token_out(backbone: UNet3DBackbone) -> None:
    token, long = backbone.token_like("cat", 2), "a red cat in the forest " * 9
    for prompt in (long, f"* {long}", f"{long} * {long}"):
        text = backbone.encode_text([prompt], token)
        assert text.shape[1] == backbone.tokenizer.model_max_length
        assert not torch.allclose(text, backbone.encode_text([prompt], 5 * token), atol=1e-3)


def test_the_end_of_a_prompt_too_long_to_read_is_named(backbone: UNet3DBackbone) -> None:
    assert backbone.unread("a red cat") == ""
    assert backbone.unread("red " * backbone.tokenizer.model_max_length + "cat") == "red red cat"


def test_what_is_no_such_model_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(IntegrityFailure, match="pipeline folder"):
        open_backbone(tmp_path)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"_class_name": "UNetMotionModel"}))
    with pytest.raises(Incompatible, match="UNetMotionModel"):
        open_backbone(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_a_device_that_is_not_there_is_refused(modelscope: Path) -> None:
    for device in ("cuda", "cuda:9"):
        with pytest.raises(RequirementError, match=f"`{device}`"):
            open_backbone(modelscope, device=device)
    for device in ("tpu", "cpu:x", "cuda:"):
        with pytest.raises(InvalidInput, match=f"`{device}`"):
            open_backbone(modelscope, device=device)


@pytest.mark.parametrize(
    "file",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "text_encoder/config.json",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_damaged_part_is_refused_by_its_name(modelscope: Path, tmp_path: Path, file: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(modelscope, broken)
    (broken / file).write_bytes((broken / file).read_bytes()[:100])
    with pytest.raises(IntegrityFailure, match=f"`{Path(file).parent}`"):
        open_backbone(broken)


def test_an_autoencoder_of_another_kind_is_refused(modelscope: Path, tmp_path: Path) -> None:
    shutil.copytree(modelscope, tmp_path / "other")
    config = tmp_path / "other" / "vae" / "config.json"
    config.write_text(config.read_text().replace("AutoencoderKL", "AutoencoderKLWan"))
    with pytest.raises(Incompatible, match="AutoencoderKLWan"):
        open_backbone(tmp_path / "other")
