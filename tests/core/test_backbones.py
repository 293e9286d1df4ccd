"""What every family of base models must do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.core.backbones.protocol import Backbone
from cavtool.errors import Incompatible, IntegrityFailure, InvalidInput, RequirementError

ORDER = torch.tensor([4, 0, 5, 2, 1, 3])


def six_frames() -> torch.Tensor:
    return torch.randn(1, 4, 6, 8, 8, generator=torch.Generator().manual_seed(0))


def predict(backbone: Backbone, latents: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return backbone.predict(latents, torch.tensor([400]), backbone.encode_text(["a red cat"]))


def test_without_time_the_order_of_frames_changes_nothing(backbone: UNetBackbone) -> None:
    latents = six_frames()
    with backbone.without_time():
        straight, shuffled = predict(backbone, latents), predict(backbone, latents[:, :, ORDER])
        alone = predict(backbone, latents[:, :, 2:3])
    torch.testing.assert_close(shuffled, straight[:, :, ORDER], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone, straight[:, :, 2:3], atol=1e-5, rtol=0)
    with_time = predict(backbone, latents), predict(backbone, latents[:, :, ORDER])
    assert (with_time[1] - with_time[0][:, :, ORDER]).abs().max() > 1e-3


def test_time_is_back_after_an_error(backbone: UNetBackbone) -> None:
    before = predict(backbone, six_frames())
    with pytest.raises(ZeroDivisionError), backbone.without_time():
        raise ZeroDivisionError
    assert torch.equal(predict(backbone, six_frames()), before)


def test_every_video_of_a_batch_gets_its_own_text(backbone: UNetBackbone) -> None:
    latents, timesteps = torch.cat([six_frames(), six_frames()]), torch.tensor([400, 400])
    texts = ["a red cat", "a blue car in the forest"]
    with torch.no_grad():
        both = backbone.predict(latents, timesteps, backbone.encode_text(texts))
        for video, text in zip(both, texts, strict=True):
            alone = backbone.predict(latents[:1], timesteps[:1], backbone.encode_text([text]))
            torch.testing.assert_close(video[None], alone, atol=1e-5, rtol=0)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_temporal_and_spatial_targets_share_nothing_and_miss_nothing(backbone: UNetBackbone) -> None:
    projections = [
        n for n, _ in backbone.denoiser.named_modules() if n.endswith((".to_q", ".to_k", ".to_v", "to_out.0"))
    ]
    assert sorted(backbone.temporal_targets() + backbone.spatial_targets()) == sorted(projections)


def test_on_the_cpu_all_attention_is_polder_than(backbone: UNetBackbone) -> None:
    processors = {type(processor).__name__ for processor in backbone.denoiser.attn_processors.values()}
    assert processors == {"AttnProcessor"}


def test_frames_go_to_latents_and_back_at_their_size(backbone: UNetBackbone) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    latents = backbone.encode(frames)
    assert latents.shape == backbone.latent_shape(3, 32, 32) == (1, 4, 3, 4, 4)
    decoded = backbone.decode(latents)
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8


def test_a_learned_token_replaces_the_star_or_is_appended(backbone: UNetBackbone) -> None:
    token = backbone.token_like("cat", 1)
    plain = backbone.encode_text(["a red cat"])
    assert torch.allclose(backbone.encode_text(["a red *"], token), plain, atol=1e-5)
    assert torch.allclose(backbone.encode_text(["a red"], token), plain, atol=1e-5)
    assert not torch.allclose(backbone.encode_text(["a red"], token * 5), plain, atol=1e-3)
    assert torch.equal(backbone.encode_text(["a red cat"]), plain)


def test_a_token_learns_and_the_text_encoder_does_not(backbone: UNetBackbone) -> None:
    token = torch.nn.Parameter(backbone.token_like("cat", 2))
    backbone.encode_text(["a red *"], token).square().sum().backward()  # type: ignore[no-untyped-call]
    assert token.grad is not None
    assert (token.grad.abs().sum(1) > 0).all()
    assert all(param.grad is None for param in backbone.text_encoder.parameters())


def test_too_many_words_never_push_the_learned_token_out(backbone: UNetBackbone) -> None:
    token, long = backbone.token_like("cat", 2), "a red cat in the forest " * 9
    for prompt in (long, f"* {long}", f"{long} * {long}"):
        text = backbone.encode_text([prompt], token)
        assert text.shape[1] == backbone.tokenizer.model_max_length
        assert not torch.allclose(text, backbone.encode_text([prompt], 5 * token), atol=1e-3)


def test_the_truncated_end_of_a_long_prompt_is_named(backbone: UNetBackbone) -> None:
    assert backbone.unread("a red cat") == ""
    assert backbone.unread("red " * backbone.tokenizer.model_max_length + "cat") == "red red cat"


def test_the_folder_decides_the_family(folder: Path) -> None:
    opened = open_backbone(folder, device="cpu", dtype="fp32")
    assert type(opened).__name__ == {"modelscope": "UNet3DBackbone", "animatediff": "AnimateDiffBackbone"}[folder.name]


def test_an_unknown_family_is_refused_with_the_known_ones_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityFailure, match="pipeline folder"):
        open_backbone(tmp_path)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"_class_name": "Kandinsky3UNet"}))
    with pytest.raises(Incompatible, match="Kandinsky3UNet") as caught:
        open_backbone(tmp_path)
    assert "UNet3DConditionModel, UNetMotionModel" in str(caught.value.hint)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_a_missing_device_is_refused(modelscope: Path) -> None:
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
def test_a_damaged_part_is_refused_by_its_name(folder: Path, tmp_path: Path, file: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / file).write_bytes((broken / file).read_bytes()[:100])
    with pytest.raises(IntegrityFailure, match=f"`{Path(file).parent}`"):
        open_backbone(broken)


def test_an_autoencoder_of_another_kind_is_refused(modelscope: Path, tmp_path: Path) -> None:
    shutil.copytree(modelscope, tmp_path / "other")
    config = tmp_path / "other" / "vae" / "config.json"
    config.write_text(config.read_text().replace("AutoencoderKL", "AutoencoderKLWan"))
    with pytest.raises(Incompatible, match="AutoencoderKLWan"):
        open_backbone(tmp_path / "other")
