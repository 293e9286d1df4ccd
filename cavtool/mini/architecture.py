"""What cav-mini is made of: small untrained models of diffusers and transformers, its tokenizer and its folder."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cavtool.mini import world
from cavtool.models import WORDS

LATENT_CHANNELS = 12
MAX_TOKENS = 32
_VOCABULARY = 2_000  # more than there are merges to make of the world's words


def new_autoencoder() -> Any:
    """64x64 RGB in [-1, 1] to 12 channels of 8x8, 0.6 M parameters."""
    from diffusers import AutoencoderTiny

    blocks = (1, 3, 3, 3)
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(32,) * 4,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks[::-1],
        scaling_factor=1.0,
    )


def new_unet() -> Any:
    """8.5 M parameters; its temporal attention starts as the identity, so videos start from the still model."""
    from diffusers import UNet3DConditionModel
    from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel

    unet = UNet3DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=32,
    )
    for layer in unet.modules():
        if isinstance(layer, TransformerTemporalModel):
            nn.init.zeros_(layer.proj_out.weight)
            nn.init.zeros_(layer.proj_out.bias)
    return unet.eval()  # no dropout, in training either


def new_tokenizer() -> Any:
    """A CLIP tokenizer with whole words for the world's words; other words fall to pieces, which mean nothing."""
    from transformers import CLIPTokenizer

    blank = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[])
    trained = blank.train_new_from_iterator(world.words(), vocab_size=_VOCABULARY)
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
            hidden_size=128,
            intermediate_size=512,
            projection_dim=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


class Denoiser(nn.Module):
    """The UNet and the text encoder, which train together."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.unet: Any = new_unet()
        self.text_encoder: Any = new_text_encoder(tokenizer)


def new_scheduler() -> Any:
    """DDIM, v-prediction, zero terminal SNR."""
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


def to_model_range(frames: world.Frames) -> Tensor:
    """(..., H, W, 3) bytes to (..., 3, H, W) floats in [-1, 1]."""
    return torch.tensor(frames).movedim(-1, -3).float() / 127.5 - 1


def to_tokens(tokenizer: Any, captions: list[str]) -> Tensor:
    """Token numbers (N, MAX_TOKENS), padded with the end's."""
    ids = tokenizer(captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    return torch.as_tensor(ids.input_ids)


def export(folder: Path, vae: Any, tokenizer: Any, denoiser: Denoiser) -> None:
    """A fp16 pipeline folder that `TextToVideoSDPipeline.from_pretrained` loads unchanged, and a list of its words."""
    from diffusers import TextToVideoSDPipeline

    tokenizer.backend_tokenizer.no_truncation()  # of training's captions: it would be saved
    tokenizer.backend_tokenizer.no_padding()
    pipeline = TextToVideoSDPipeline(vae, denoiser.text_encoder, tokenizer, denoiser.unet, new_scheduler())
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(dtype=torch.float32)
    (folder / WORDS).write_text(json.dumps(world.words(), indent=0) + "\n")
    # transformers loads what config.json says, diffusers fp32: said here too, else they would not fit together
    config = folder / "text_encoder" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))


def start_from(folder: Path, vae: Any, denoiser: Denoiser, tokenizer: Any) -> None:
    """Begin with the weights of an exported pipeline; what it knows of words that stay goes with the words."""
    from diffusers import TextToVideoSDPipeline

    pipeline = TextToVideoSDPipeline.from_pretrained(folder)
    vae.load_state_dict(pipeline.vae.state_dict())
    denoiser.unet.load_state_dict(pipeline.unet.state_dict())
    theirs, now = pipeline.text_encoder.state_dict(), denoiser.text_encoder.state_dict()
    (table,) = (name for name in theirs if name.endswith("token_embedding.weight"))
    numbers = pipeline.tokenizer.get_vocab()
    for token, number in tokenizer.get_vocab().items():
        if token in numbers:
            now[table][number] = theirs[table][numbers[token]]
    denoiser.text_encoder.load_state_dict(theirs | {table: now[table]})
