"""Properties that only the AnimateDiff family has."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.animatediff import AnimateDiffBackbone
from cavtool.errors import Incompatible, IntegrityFailure
from cavtool.models import find_model
from tests.core.test_backbones import predict, six_frames
from tests.small_models import save_animatediff_in_two_parts


def opened(folder: Path) -> AnimateDiffBackbone:
    return AnimateDiffBackbone(folder, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def in_two_parts(animatediff: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `animatediff` as an image UNet and a motion adapter."""
    return save_animatediff_in_two_parts(tmp_path_factory.mktemp("models") / "in_two_parts", animatediff)


def test_temporal_targets_are_the_attention_of_the_motion_modules(animatediff: Path) -> None:
    backbone = opened(animatediff)
    assert all(".motion_modules." in name for name in backbone.temporal_targets())
    assert not any(".motion_modules." in name for name in backbone.spatial_targets())
    blocks = {name.partition(".motion_modules.")[0] for name in backbone.temporal_targets()}
    assert blocks == {f"{side}_blocks.{i}" for side in ("down", "up") for i in range(4)} | {"mid_block"}


def test_the_targets_in_the_model_of_full_size() -> None:
    """Stable Diffusion 1.5 with the adapter v1-5-3, which has no motion module in the middle."""
    with torch.device("meta"):
        adapter = MotionAdapter(use_motion_mid_block=False)
        unet = UNetMotionModel.from_unet2d(UNet2DConditionModel(cross_attention_dim=768), adapter)
    backbone = AnimateDiffBackbone.__new__(AnimateDiffBackbone)
    backbone.denoiser = unet
    blocks = [(f"down_blocks.{i}", 2) for i in range(4)] + [(f"up_blocks.{i}", 3) for i in range(4)]
    places = [f"{block}.motion_modules.{j}" for block, number in blocks for j in range(number)]
    layers = [f"attn{i}.to_{name}" for i in (1, 2) for name in ("q", "k", "v", "out.0")]
    expected = [f"{each}.transformer_blocks.0.{layer}" for each in places for layer in layers]
    assert backbone.temporal_targets() == expected
    assert len(expected) == 160
    assert len(backbone.spatial_targets()) == 16 * 8
    assert not set(backbone.spatial_targets()) & set(expected)


def test_without_time_it_is_the_image_model_on_each_frame(in_two_parts: Path) -> None:
    backbone, image_unet = opened(in_two_parts), UNet2DConditionModel.from_pretrained(in_two_parts / "unet")
    latents, text = six_frames(), backbone.encode_text(["a red cat"])
    with backbone.without_time():
        made = predict(backbone, latents)
    with torch.no_grad():
        frames = [image_unet(frame_BCHW, 400, text).sample for frame_BCHW in latents.unbind(2)]
    torch.testing.assert_close(made, torch.stack(frames, 2), atol=1e-5, rtol=0)


def test_an_image_unet_with_a_motion_adapter_is_the_same_model(
    animatediff: Path, in_two_parts: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    backbone = open_backbone(in_two_parts, device="cpu", dtype="fp32")
    assert capfd.readouterr() == ("", "")
    assert not any(module.training for module in backbone.denoiser.modules())
    assert not any(param.requires_grad for param in backbone.denoiser.parameters())
    torch.testing.assert_close(
        predict(backbone, six_frames()), predict(opened(animatediff), six_frames()), atol=1e-5, rtol=0
    )


def test_the_fingerprint_covers_the_motion_adapter_in_one_or_two_parts(
    animatediff: Path, in_two_parts: Path, tmp_path: Path
) -> None:
    assert find_model(str(in_two_parts)).fingerprint == find_model(str(animatediff)).fingerprint
    shutil.copytree(in_two_parts, tmp_path / "mixed")
    other = MotionAdapter(block_out_channels=(32, 32, 64, 64), motion_layers_per_block=2, motion_norm_num_groups=8)
    other.save_pretrained(tmp_path / "mixed" / "motion_adapter")
    mixed, whole = find_model(str(tmp_path / "mixed")), find_model(str(in_two_parts))
    assert mixed.fingerprint != whole.fingerprint
    assert mixed.revision != whole.revision


def test_an_image_model_without_a_motion_adapter_is_refused(in_two_parts: Path, tmp_path: Path) -> None:
    shutil.copytree(in_two_parts, tmp_path / "still", ignore=shutil.ignore_patterns("motion_adapter"))
    with pytest.raises(Incompatible, match="`still` is an image model") as caught:
        open_backbone(tmp_path / "still")
    assert f"`cav models add NAME ADAPTER --base {tmp_path / 'still'}`" in str(caught.value.hint)


@pytest.mark.parametrize("widths", [(32, 64, 64, 64), (32, 32, 64)])
def test_a_motion_adapter_of_another_model_is_refused(
    in_two_parts: Path, tmp_path: Path, widths: tuple[int, ...]
) -> None:
    shutil.copytree(in_two_parts, tmp_path / "mixed")
    other = MotionAdapter(block_out_channels=widths, motion_layers_per_block=1, motion_norm_num_groups=8)
    other.save_pretrained(tmp_path / "mixed" / "motion_adapter")
    with pytest.raises(Incompatible, match="motion adapter of `mixed` does not fit"):
        open_backbone(tmp_path / "mixed")


def test_a_damaged_motion_adapter_is_refused(in_two_parts: Path, tmp_path: Path) -> None:
    shutil.copytree(in_two_parts, tmp_path / "broken")
    (tmp_path / "broken" / "motion_adapter" / "config.json").write_text("{")
    with pytest.raises(IntegrityFailure, match="`motion_adapter`"):
        open_backbone(tmp_path / "broken")


def test_more_frames_than_the_motion_modules_have_positions_for_are_refused(animatediff: Path) -> None:
    backbone = opened(animatediff)
    assert backbone.latent_shape(32, 64, 64) == (1, 4, 32, 8, 8)
    assert predict(backbone, torch.zeros(1, 4, 32, 8, 8)).isfinite().all()
    with pytest.raises(Incompatible, match="33 frames") as caught:
        backbone.latent_shape(33, 64, 64)
    assert "32 frames" in str(caught.value.hint)
    with pytest.raises(Incompatible, match="33 frames"):
        predict(backbone, torch.zeros(1, 4, 33, 8, 8))
