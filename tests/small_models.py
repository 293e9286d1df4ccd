"""Small pipeline folders with random weights, in the exact architecture and format of the real ones."""

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    AutoencoderKLWan,
    DDIMScheduler,
    MotionAdapter,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
    UNetMotionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from cavtool.mini.architecture import new_tokenizer

TEXT_WIDTH = 32
NORM_GROUPS = 8  # 32 groups of so few channels would amplify rounding errors


def save_modelscope(
    folder: Path, *, seed: int = 0, width: int = 32, sample_size: int = 8, all_levels: bool = True
) -> Path:
    """Like ModelScope 1.7b: UNet3D of four levels, AutoencoderKL, epsilon prediction, ModelScope's schedule.

    Without `all_levels`, the UNet has only the lowest two, and a training step takes about half of the time.
    """
    torch.manual_seed(seed)
    num_attending = 3 if all_levels else 1
    unet = UNet3DConditionModel(
        sample_size=sample_size,
        down_block_types=("CrossAttnDownBlock3D",) * num_attending + ("DownBlock3D",),
        up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * num_attending,
        block_out_channels=(width, width, 2 * width, 2 * width) if all_levels else (width, 2 * width),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        norm_num_groups=NORM_GROUPS,
        layers_per_block=1,
    )
    _stir(unet)
    vae, tokenizer = _new_vae(), new_tokenizer()
    pipeline = TextToVideoSDPipeline(
        vae, _new_text_encoder(tokenizer), tokenizer, unet, _new_scheduler("scaled_linear")
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def save_animatediff(folder: Path) -> Path:
    """Like AnimateDiff: Stable Diffusion 1.5's UNet with motion modules, AutoencoderKL, AnimateDiff's schedule."""
    torch.manual_seed(0)
    unet = UNetMotionModel.from_unet2d(*_new_image_unet_and_adapter())
    vae, tokenizer = _new_vae(), new_tokenizer()
    pipeline = AnimateDiffPipeline(
        vae, _new_text_encoder(tokenizer), tokenizer, unet, motion_adapter=None, scheduler=_new_scheduler("linear")
    )
    pipeline.save_pretrained(folder)
    return folder


def save_animatediff_in_two_parts(folder: Path, whole: Path) -> Path:
    """The same model as in `whole`, in the published layout: an image UNet next to a motion adapter."""
    torch.manual_seed(0)
    unet, adapter = _new_image_unet_and_adapter()
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("unet"))
    unet.save_pretrained(folder / "unet")
    adapter.save_pretrained(folder / "motion_adapter")
    return folder


def save_dreambooth(family: str, folder: Path, *, width: int = 32) -> UNet2DConditionModel:
    """The UNet of an image model that fits the small video model of a family, with other weights."""
    torch.manual_seed(9)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(width, width, 2 * width, 2 * width),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=NORM_GROUPS,
        layers_per_block=1,
        use_linear_projection=family == "modelscope",  # as in Stable Diffusion 2.1
    )
    unet.save_pretrained(folder)
    return unet


def save_image_model(folder: Path, whole: Path) -> Path:
    """Like Stable Diffusion 1.5 on the Hub: the image model in `whole`, listed with parts that are not there."""
    save_animatediff_in_two_parts(folder, whole)
    shutil.rmtree(folder / "motion_adapter")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.6.0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def save_wan(folder: Path, kind: str = "2.1") -> Path:
    """Like Wan 2.1 (`2.1`), Wan 2.2 A14B with two experts (`a14b`) or Wan 2.2 5B with its residual VAE (`5b`)."""
    torch.manual_seed(0)
    channels, tokenizer = 16 if kind == "5b" else 4, _new_t5_tokenizer()
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    pipeline = WanPipeline(
        tokenizer,
        _new_t5(tokenizer),
        _new_video_vae(channels, is_residual=kind == "5b"),
        UniPCMultistepScheduler(num_train_timesteps=1000, **flow),
        _new_wan_transformer(channels),
        _new_wan_transformer(channels) if kind == "a14b" else None,
        boundary_ratio=0.875 if kind == "a14b" else None,
        expand_timesteps=kind == "5b",
    )
    pipeline.save_pretrained(folder)
    return folder


def save_sharded(backbone: Any, original: Path, folder: Path) -> Path:
    """A copy of the pipeline folder with the UNet's weights in several files and an index."""
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("diffusion_pytorch_model.safetensors"))
    backbone.denoiser.save_pretrained(folder / "unet", max_shard_size="1MB")
    shutil.copy(original / "vae" / "diffusion_pytorch_model.safetensors", folder / "vae")
    return folder


def save_fp16(backbone: Any, original: Path, folder: Path) -> Path:
    """A copy of the pipeline folder with the fp16 file names of the hub, `*.fp16.safetensors`."""
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for name, model in (("unet", "denoiser"), ("vae", "vae"), ("text_encoder", "text_encoder")):
        copy.deepcopy(getattr(backbone, model)).half().save_pretrained(folder / name, variant="fp16")
    return folder


def save_checkpoint(image_model: Path, file: Path) -> Path:
    """The UNet, VAE and text encoder of an image pipeline in one file, in the layout of Stable Diffusion 1.5."""
    parts = {
        "model.diffusion_model.": (image_model / "unet", _unet_key),
        "first_stage_model.": (image_model / "vae", _vae_key),
        "cond_stage_model.transformer.": (image_model / "text_encoder", text_key),
    }
    state = {}
    for prefix, (folder, rename) in parts.items():
        for key, tensor in load_file(next(folder.glob("*.safetensors"))).items():
            name = prefix + rename(key)
            is_convolution = ".mid.attn_1." in name and name.endswith(".weight") and ".norm." not in name
            state[name] = (tensor[:, :, None, None] if is_convolution else tensor).contiguous()
    save_file(state, file)
    return file


def text_key(key: str) -> str:
    """A key of the text encoder as files have it that transformers before 5.6 wrote, such as those on the Hub."""
    return key if key.startswith("text_model.") else f"text_model.{key}"


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def _unet_key(key: str) -> str:
    """A key of diffusers' UNet, of one layer a block, in the original layout."""
    for ours, theirs in _ENDS.items():
        if key.startswith(ours + "."):
            return theirs + key.removeprefix(ours)
    place, i, kind, j, rest = re.fullmatch(r"(\w+?)_blocks?\.(?:(\d)\.)?(\w+)\.(\d)\.(.*)", key).groups()  # type: ignore[union-attr]
    if kind == "resnets":
        layer, _, end = rest.partition(".")
        rest = f"{_RESNET[layer]}.{end}"
    number = 2 * int(i or 0) + int(j)
    match place, kind:
        case "mid", _:
            return f"middle_block.{1 if kind == 'attentions' else 2 * int(j)}.{rest}"
        case "down", "downsamplers":
            return f"input_blocks.{number + 2}.0.op.{rest.removeprefix('conv.')}"
        case "up", "upsamplers":
            return f"output_blocks.{number + 1}.{1 if i == '0' else 2}.{rest}"
        case "down", _:
            return f"input_blocks.{number + 1}.{int(kind == 'attentions')}.{rest}"
        case _:
            return f"output_blocks.{number}.{int(kind == 'attentions')}.{rest}"


def _vae_key(key: str) -> str:
    """A key of diffusers' VAE, of four levels, in the original layout."""
    attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
    for ours, theirs in attention.items():
        key = key.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", key)
    key = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets", lambda found: f"up.{3 - int(found[1])}.block", key)
    key = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{3 - int(found[1])}.upsample", key)
    return key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def _new_image_unet_and_adapter() -> tuple[UNet2DConditionModel, MotionAdapter]:
    widths = (32, 32, 64, 64)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=widths,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # the number of heads, as in Stable Diffusion 1.5
        norm_num_groups=NORM_GROUPS,
        layers_per_block=1,
    )
    adapter = MotionAdapter(
        block_out_channels=widths,
        motion_layers_per_block=1,
        motion_num_attention_heads=4,
        motion_norm_num_groups=NORM_GROUPS,
    )
    return unet, adapter


def _new_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.18215,
    )


def _new_wan_transformer(channels: int) -> WanTransformer3DModel:
    transformer = WanTransformer3DModel(
        num_attention_heads=3,
        attention_head_dim=12,
        in_channels=channels,
        out_channels=channels,
        text_dim=TEXT_WIDTH,
        freq_dim=16,
        ffn_dim=48,
        num_layers=2,
    )
    with torch.no_grad():
        for block in transformer.blocks:  # random weights attend evenly; heads differ in trained ones
            block.attn1.norm_q.weight *= torch.tensor([1.0, 6.0, 12.0]).repeat_interleave(12)
    return transformer


def _new_video_vae(channels: int, *, is_residual: bool) -> AutoencoderKLWan:
    residual = {"patch_size": 2, "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16}
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.1 * i for i in range(channels)],
        latents_std=[0.5 + 0.1 * i for i in range(channels)],
        is_residual=is_residual,
        **(residual if is_residual else {}),
    )


def _new_t5_tokenizer() -> T5Tokenizer:
    """A tokenizer of whole words, others are spelled in letters."""
    words = ["a", "red", "blue", "cat", "car", "in", "the", "forest", "twirls", "lantern"]
    pieces = [*(f"▁{word}" for word in words), "▁", *"abcdefghijklmnopqrstuvwxyz"]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -2.0 - i / 9) for i, piece in enumerate(pieces))]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def _new_t5(tokenizer: Any) -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    return UMT5EncoderModel(config)


def _new_text_encoder(tokenizer: Any) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def _new_scheduler(beta_schedule: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule=beta_schedule, clip_sample=False, steps_offset=1
    )


def _stir(unet: torch.nn.Module) -> None:
    """Randomise the temporal convolutions, whose zeros would have no effect."""
    with torch.no_grad():
        for name, param in unet.named_parameters():
            if "temp_conv" in name and param.abs().sum() == 0:
                param.normal_(std=0.05)


def save_clip(folder: Path) -> None:
    """A small random CLIP where the cache of Hugging Face would have the large one."""
    snapshot = folder / "snapshots" / "main"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("main")
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {**size, "vocab_size": 400, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    torch.manual_seed(1)
    CLIPModel(CLIPConfig(text_config=words, vision_config={**size, "image_size": 64})).save_pretrained(snapshot)
    tokenizer = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[])
    tokenizer.train_new_from_iterator(["a red cat"], vocab_size=390).save_pretrained(snapshot)
