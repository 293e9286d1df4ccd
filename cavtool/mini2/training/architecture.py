"""What cav-mini is made of: small untrained models of diffusers and transformers, its tokenizer and its folder."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cavtool.errors import Conflict
from cavtool.mini2.world.scenes import FPS, NUM_FRAMES, Frames, words
from cavtool.models import write_description

LATENT_CHANNELS, LATENT_SIDE = 4, 16
MAX_TOKENS = 32
WIDTHS = (32, 64, 128)
TEXT_WIDTH = 128
_VOCABULARY = 2_000  # more than there are merges to make of the world's words


def new_autoencoder() -> Any:
    """64x64 RGB in [-1, 1] to 4 channels of 16x16."""
    from diffusers import AutoencoderTiny

    blocks = (1, 2, 3)
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(32,) * 3,
        decoder_block_out_channels=(32,) * 3,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks[::-1],
        scaling_factor=1.0,
    )


def new_denoiser(widths: tuple[int, ...] = WIDTHS) -> Any:
    """AnimateDiff's layout, text at the two lower levels; its motion modules start as the identity."""
    from diffusers import UNetMotionModel

    unet = UNetMotionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion", "CrossAttnDownBlockMotion"),
        up_block_types=("CrossAttnUpBlockMotion", "CrossAttnUpBlockMotion", "UpBlockMotion"),
        block_out_channels=widths,
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=TEXT_WIDTH,
        num_attention_heads=tuple(max(1, width // 32) for width in widths),
        motion_num_attention_heads=tuple(width // 16 for width in widths),  # 16 wide: fast kernels want multiples of 8
        use_linear_projection=True,
    )
    for module in motion_modules(unet):
        nn.init.zeros_(module.proj_out.weight)
        nn.init.zeros_(module.proj_out.bias)
    return unet.eval()  # no dropout, in training either


def motion_modules(unet: nn.Module) -> list[Any]:
    """All layers that mix frames."""
    from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

    return [module for module in unet.modules() if isinstance(module, AnimateDiffTransformer3D)]


def new_tokenizer() -> Any:
    """A CLIP tokenizer with whole words for the world's words; other words fall to pieces, which mean nothing."""
    from transformers import CLIPTokenizer

    blank = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[])
    trained = blank.train_new_from_iterator(words(), vocab_size=_VOCABULARY)
    # Training numbers equally frequent tokens by chance: sorted, the same words always have the same numbers.
    merges = [tuple(pair) for pair in json.loads(trained.backend_tokenizer.to_str())["model"]["merges"]]
    specials = ["<|startoftext|>", "<|endoftext|>"]
    tokens = [*specials, *sorted(trained.get_vocab().keys() - set(specials))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def new_text_encoder(tokenizer: Any) -> Any:
    """CLIP's text model, 2 layers of width 128."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


class Denoiser(nn.Module):
    """The UNet and the text encoder, which is trained first and then frozen."""

    def __init__(self, tokenizer: Any, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.unet: Any = new_denoiser(widths)
        self.text_encoder: Any = new_text_encoder(tokenizer)


def new_scheduler() -> Any:
    """DDIM, v-prediction, zero terminal SNR (Lin et al. 2024)."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def to_model_range(frames: Frames, device: str = "cpu") -> Tensor:
    """(..., H, W, 3) bytes to (..., 3, H, W) floats in [-1, 1] on the device."""
    return torch.tensor(frames, device=device).movedim(-1, -3).float() / 127.5 - 1


def to_tokens(tokenizer: Any, captions: list[str]) -> Tensor:
    """Token numbers (N, MAX_TOKENS), padded with the end's."""
    ids = tokenizer(captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    return torch.as_tensor(ids.input_ids)


def export(folder: Path, vae: Any, tokenizer: Any, denoiser: Denoiser) -> None:
    """A fp16 pipeline folder that `AnimateDiffPipeline.from_pretrained` loads unchanged, and its `cav.json`."""
    from diffusers import AnimateDiffPipeline

    tokenizer.backend_tokenizer.no_truncation()  # of training's captions: it would be saved
    tokenizer.backend_tokenizer.no_padding()
    pipeline = AnimateDiffPipeline(vae, denoiser.text_encoder, tokenizer, denoiser.unet, None, new_scheduler())
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(dtype=torch.float32)
    write_description(
        folder, num_frames=NUM_FRAMES, fps=FPS, enlarge=4, words=words(), steps=25, guidance=3.0, noise_from=0.5
    )
    # transformers loads what config.json says, diffusers fp32: said here too, else they would not fit together
    config = folder / "text_encoder" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))


def load_parts(folder: Path, vae: Any, denoiser: Denoiser) -> set[str]:
    """Load the weights that a pipeline folder has; returns which: `vae`, `text_encoder`, `unet`.

    Raises Conflict if there are none, or if they do not fit.
    """
    from safetensors.torch import load_file

    found = set()
    for name, model in {"vae": vae, "text_encoder": denoiser.text_encoder, "unet": denoiser.unet}.items():
        for file in (folder / name).glob("*.safetensors"):
            try:
                model.load_state_dict(load_file(file))
            except RuntimeError as error:
                raise Conflict(f"`{file}` is not of this architecture", hint="start from another folder") from error
            found.add(name)
    if not found:
        raise Conflict(f"there are no weights in `{folder}`", hint="give the folder of a pipeline")
    return found
