"""Pipeline folders with random weights for `gpu.py`: at full size on a GPU, at reduced widths without one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    DDIMScheduler,
    TextToVideoSDPipeline,
    UNet3DConditionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, UMT5Config, UMT5EncoderModel

from cavtool.mini.architecture import new_tokenizer
from cavtool.models import DESCRIPTION
from tests.small_models import _new_t5_tokenizer, save_modelscope, save_wan


@dataclass(frozen=True)
class Size:
    """A clip in frames and pixels, and a smaller one for the CPU."""

    full: tuple[int, int, int]
    reduced: tuple[int, int, int]


MODELSCOPE, MODELSCOPE_384 = Size((16, 256, 256), (8, 64, 64)), Size((16, 384, 384), (8, 96, 96))
ZEROSCOPE, WAN = Size((24, 576, 320), (12, 96, 64)), Size((33, 480, 272), (9, 64, 32))


def make(family: str, folder: Path, *, full: bool) -> Path:
    """A pipeline folder of the family, of the published sizes if `full`."""
    torch.manual_seed(0)
    if not full:
        return save_modelscope(folder, width=64) if family == "unet3d" else save_wan(folder)
    with torch.device("cuda"):
        pipeline = _full_modelscope() if family == "unet3d" else _full_wan()
    pipeline.save_pretrained(folder)
    return folder


def describe(folder: Path, clip: tuple[int, int, int]) -> None:
    """Write the size of the clips into the folder: that of a UNet into its config."""
    num_frames, width, height = clip
    values = {"num_frames": num_frames, "fps": 8, "width": width, "height": height}
    (folder / DESCRIPTION).write_text(json.dumps(values))
    if (config := folder / "unet" / "config.json").exists():
        size = {"sample_size": [height // 8, width // 8]}
        config.write_text(json.dumps(json.loads(config.read_text()) | size))


def _full_modelscope() -> Any:
    unet = UNet3DConditionModel(cross_attention_dim=1024, attention_head_dim=64, sample_size=32)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        scaling_factor=0.18215,
    )
    tokenizer = new_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=23,
        num_attention_heads=16,
        max_position_embeddings=77,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    parts = (each.to(torch.bfloat16) for each in (vae, CLIPTextModel(config), unet))
    vae, text_encoder, unet = parts
    return TextToVideoSDPipeline(vae, text_encoder, tokenizer, unet, scheduler)


def _full_wan() -> Any:
    """Wan 2.1 1.3B with a text encoder of one layer, which is not the part that is measured."""
    tokenizer = _new_t5_tokenizer()
    transformer = WanTransformer3DModel(
        num_attention_heads=12,
        attention_head_dim=128,
        text_dim=4096,
        freq_dim=256,
        ffn_dim=8960,
        num_layers=30,
    )
    config = UMT5Config(vocab_size=len(tokenizer), d_model=4096, d_kv=64, d_ff=10240, num_layers=1, num_heads=64)
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    return WanPipeline(
        tokenizer,
        UMT5EncoderModel(config).to(torch.bfloat16),
        AutoencoderKLWan(),
        UniPCMultistepScheduler(num_train_timesteps=1000, **flow),
        transformer.to(torch.bfloat16),
    )
