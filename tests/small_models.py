"""Pipeline folders of the exact architecture and format of the real ones, small, with random weights."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from cavtool.mini.architecture import new_tokenizer


def save_modelscope(folder: Path, *, seed: int = 0, width: int = 32) -> Path:
    """ModelScope 1.7b's kind: UNet3D of four levels, AutoencoderKL, epsilon prediction, ModelScope's schedule."""
    torch.manual_seed(seed)
    unet = UNet3DConditionModel(
        sample_size=8,
        block_out_channels=(width, width, 2 * width, 2 * width),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,  # 32 of so few channels would blow up rounding
        layers_per_block=1,
    )
    _stir(unet)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.18215,
    )
    tokenizer = new_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    pipeline = TextToVideoSDPipeline(vae, CLIPTextModel(config), tokenizer, unet, scheduler)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _stir(unet: torch.nn.Module) -> None:
    """Make the zero-initialised temporal convolutions do something, as trained ones do."""
    with torch.no_grad():
        for name, param in unet.named_parameters():
            if "temp_conv" in name and param.abs().sum() == 0:
                param.normal_(std=0.05)
