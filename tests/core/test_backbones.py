"""The backbone protocol, tested on every family of base models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.core.backbones.protocol import Backbone
from cavtool.errors import Incompatible, IntegrityFailure, InvalidInput, RequirementError
from tests.small_models import save_fp16, save_sharded

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


def test_the_temporal_layers_are_restored_after_an_error(backbone: UNetBackbone) -> None:
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


def test_every_attention_layer_and_temporal_convolution_is_a_target_once(backbone: UNetBackbone) -> None:
    expected = [
        name
        for name, layer in backbone.denoiser.named_modules()
        if name.endswith((".to_q", ".to_k", ".to_v", "to_out.0")) or isinstance(layer, nn.Conv3d)
    ]
    assert sorted(backbone.temporal_targets() + backbone.spatial_targets()) == sorted(expected)


def test_on_the_cpu_all_attention_uses_the_plain_processor(backbone: UNetBackbone) -> None:
    processors = {type(processor).__name__ for processor in backbone.denoiser.attn_processors.values()}
    assert processors == {"AttnProcessor"}


def test_frames_go_to_latents_and_back_at_their_size(backbone: UNetBackbone) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    latents = backbone.encode_clip(frames)
    assert latents.shape == backbone.latent_shape(3, 32, 32) == (1, 4, 3, 4, 4)
    decoded = backbone.decode(latents)
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8


def test_a_still_is_encoded_as_a_clip_of_one_frame(backbone: UNetBackbone) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (19, 32, 32, 3), np.uint8)
    stills = backbone.encode_stills(frames)
    assert stills.shape == (19, *backbone.latent_shape(1, 32, 32)[1:])
    for i in (0, 7, 18):
        torch.testing.assert_close(stills[i : i + 1], backbone.encode_clip(frames[i : i + 1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("noise_from", "first"), [(0.0, 0), (0.7, 700), (0.9999, 999)])
def test_timesteps_are_drawn_from_a_share_of_them(backbone: UNetBackbone, noise_from: float, first: int) -> None:
    assert backbone.first_timestep(noise_from) == first
    drawn = [backbone.draw_timesteps(torch.Generator().manual_seed(seed), 3, noise_from) for seed in range(200)]
    assert torch.equal(drawn[5], backbone.draw_timesteps(torch.Generator().manual_seed(5), 3, noise_from))
    assert first <= min(t.min() for t in drawn) < first + 30
    assert 970 < max(t.max() for t in drawn) < 1000


def test_guidance_combines_two_predictions_and_scale_one_is_no_guidance(backbone: UNetBackbone) -> None:
    latents, timesteps = torch.cat([six_frames(), -six_frames()]), torch.tensor([400, 700])
    positive, negative = backbone.encode_text(["a red cat"]), backbone.encode_text([""])
    with torch.no_grad():
        with_text, without = (backbone.predict(latents, timesteps, text) for text in (positive, negative))
        guided = {
            scale: backbone.predict_guided(latents, timesteps, positive, negative, scale) for scale in (0, 1, 7.5)
        }
    assert torch.equal(guided[1], with_text)
    torch.testing.assert_close(guided[0], without, atol=1e-5, rtol=0)
    torch.testing.assert_close(guided[7.5], without + 7.5 * (with_text - without), atol=1e-4, rtol=0)


def test_released_parts_still_work(backbone: UNetBackbone) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    before = backbone.encode_text(["a red cat"]), backbone.encode_clip(frames)
    backbone.release("vae")
    backbone.release("text_encoder")
    assert torch.equal(backbone.encode_text(["a red cat"]), before[0])
    assert torch.equal(backbone.encode_clip(frames), before[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_released_parts_leave_the_accelerator_until_they_are_used(folder: Path) -> None:
    backbone = open_backbone(folder, device="cuda")
    assert isinstance(backbone, UNetBackbone)
    backbone.release("vae")
    backbone.release("text_encoder")
    assert (backbone.vae.device.type, backbone.text_encoder.device.type) == ("cpu", "cpu")
    assert backbone.token_like("cat", 1).device.type == "cuda"
    assert backbone.encode_text(["a red cat"]).device.type == "cuda"
    assert backbone.encode_clip(np.zeros((1, 32, 32, 3), np.uint8)).device.type == "cuda"


def test_sharded_and_fp16_weights_are_opened(
    backbone: UNetBackbone, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = predict(backbone, six_frames())
    for save in (save_sharded, save_fp16):
        saved = save(backbone, folder, tmp_path / save.__name__)
        capfd.readouterr()
        opened = open_backbone(saved, device="cpu", dtype="fp32")
        assert capfd.readouterr() == ("", "")
        made = predict(opened, six_frames())
        torch.testing.assert_close(made, expected, atol=1e-5 if save is save_sharded else 0.05, rtol=0)


def test_a_learned_token_replaces_the_star_or_is_appended(backbone: UNetBackbone) -> None:
    token = backbone.token_like("cat", 1)
    plain = backbone.encode_text(["a red cat"])
    assert torch.allclose(backbone.encode_text(["a red *"], token), plain, atol=1e-5)
    assert torch.allclose(backbone.encode_text(["a red"], token), plain, atol=1e-5)
    assert not torch.allclose(backbone.encode_text(["a red"], token * 5), plain, atol=1e-3)
    assert torch.equal(backbone.encode_text(["a red cat"]), plain)


def test_gradients_reach_the_token_and_not_the_text_encoder(backbone: UNetBackbone) -> None:
    token = torch.nn.Parameter(backbone.token_like("cat", 2))
    backbone.encode_text(["a red *"], token).square().sum().backward()  # type: ignore[no-untyped-call]
    assert token.grad is not None
    assert (token.grad.abs().sum(1) > 0).all()
    assert all(param.grad is None for param in backbone.text_encoder.parameters())
    assert backbone.encode_text(["a red *"], token.detach()).grad_fn is None


def test_the_learned_token_is_kept_in_a_prompt_that_is_too_long(backbone: UNetBackbone) -> None:
    token, long = backbone.token_like("cat", 2), "a red cat in the forest " * 9
    for prompt in (long, f"* {long}", f"{long} * {long}"):
        text = backbone.encode_text([prompt], token)
        assert text.shape[1] == backbone.tokenizer.model_max_length
        assert not torch.allclose(text, backbone.encode_text([prompt], 5 * token), atol=1e-3)


def test_the_truncated_end_of_a_long_prompt_is_returned(backbone: UNetBackbone) -> None:
    assert backbone.truncated("a red cat") == ""
    assert backbone.truncated("red " * backbone.tokenizer.model_max_length + "cat") == "red red cat"


def test_the_family_is_read_from_the_folder(folder: Path) -> None:
    opened = open_backbone(folder, device="cpu", dtype="fp32")
    assert type(opened).__name__ == {"modelscope": "UNet3DBackbone", "animatediff": "AnimateDiffBackbone"}[folder.name]


def test_an_unknown_family_is_refused_with_a_list_of_the_known_ones(tmp_path: Path) -> None:
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
def test_the_error_for_a_damaged_part_names_it(folder: Path, tmp_path: Path, file: str) -> None:
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


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("unet/config.json", "[]"),
        ("unet/config.json", "[" * 100_000),
        ("vae/config.json", "{}"),
        ("vae/config.json", None),
        ("text_encoder/config.json", "{}"),
        ("text_encoder/config.json", "3"),
        ("tokenizer/tokenizer_config.json", "[]"),
        ("scheduler/scheduler_config.json", None),
        ("scheduler/scheduler_config.json", "[1]"),
    ],
)
def test_an_odd_or_missing_config_is_refused_in_one_line(
    modelscope: Path, tmp_path: Path, file: str, text: str | None
) -> None:
    folder = shutil.copytree(modelscope, tmp_path / "model")
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(IntegrityFailure) as caught:
        open_backbone(folder)
    assert "\n" not in caught.value.message
    assert "connection" not in caught.value.message
    assert caught.value.hint
