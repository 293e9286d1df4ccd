"""Video UNets of the ModelScope family (`UNet3DConditionModel`): cav-mini, ModelScope 1.7b, ZeroScope.

Shapes: B batch, F frames, C channels, H W of latents or pixels, L tokens, D width.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from cavtool.core.backbones.base import FramesFHWC
from cavtool.errors import Incompatible, IntegrityFailure

_PROJECTION = re.compile(r"\.attn\d\.to_(q|k|v|out\.0)$")


class UNet3DBackbone:
    """A pipeline folder of diffusers' `TextToVideoSDPipeline`, opened for training and sampling.

    Weights are held in fp32 on the CPU; on an accelerator they are held in `dtype`. Computing is autocast to `dtype`.
    """

    def __init__(self, folder: Path, *, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        held = torch.float32 if device == "cpu" else dtype
        self.vae = _load(_autoencoder_kind(folder / "vae"), folder / "vae", held, device)
        self.denoiser = _load(UNet3DConditionModel, folder / "unet", held, device)
        self.text_encoder = _load(CLIPTextModel, folder / "text_encoder", held, device)
        with _damage_told(folder / "tokenizer"):
            self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self._scheduler_folder = folder / "scheduler"
        with _damage_told(self._scheduler_folder):
            self._noise: Any = self.scheduler()
        self._vae_factor = 2 ** (len(self._block_widths()) - 1)
        if device == "cpu":
            self.denoiser.set_attn_processor(AttnProcessor())  # SDPA is slow on thousands of short sequences

    def _block_widths(self) -> Sequence[int]:
        config = self.vae.config
        return config.get("block_out_channels") or config["encoder_block_out_channels"]  # type: ignore[no-any-return]

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape (1, C, F, H, W) of the latents of one clip, sizes in pixels."""
        channels = self.denoiser.config["in_channels"]
        return 1, channels, num_frames, height // self._vae_factor, width // self._vae_factor

    # Text

    def encode_text(self, prompts: Sequence[str], token: Tensor | None = None) -> Tensor:
        """Prompts to (B, L, D). `token` (N, D), a learned one, stands where a prompt has `*`, else is appended."""
        if token is None:
            ids_BL = self._ids([prompt.replace("*", " ") for prompt in prompts])
            return self._encode_ids(ids_BL)
        ids_BL = torch.stack([self._ids_with_token(prompt, len(token)) for prompt in prompts])
        with _learned_rows(self.text_encoder, token):
            return self._encode_ids(ids_BL)

    def _encode_ids(self, ids_BL: Tensor) -> Tensor:
        with self._autocast():
            states: Tensor = self.text_encoder(ids_BL.to(self.device))[0]
        return states.float()

    def _ids(self, prompts: list[str]) -> Tensor:
        length = self.tokenizer.model_max_length
        ids = self.tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return torch.as_tensor(ids.input_ids)

    def _ids_with_token(self, prompt: str, num_vectors: int) -> Tensor:
        """Ids (L,) in which the learned vectors have the ids just past the vocabulary's end."""
        length = self.tokenizer.model_max_length
        room = length - 2 - num_vectors  # for words: where there are too many they give way
        before, after = (self._words(part) for part in prompt.partition("*")[::2])
        first = self.text_encoder.config.vocab_size
        learned = range(first, first + num_vectors)
        inner = [*before[:room], *learned, *after[: max(0, room - len(before))]]
        ids = [self.tokenizer.bos_token_id, *inner, self.tokenizer.eos_token_id]
        return torch.tensor([*ids, *[self.tokenizer.pad_token_id] * (length - len(ids))])

    def _words(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def token_like(self, text: str, num_vectors: int) -> Tensor:
        """A new token's first value, (num_vectors, D): the mean embedding of the text's words."""
        ids_L = torch.tensor(self._words(text) or self._words("a"), device=self.device)
        rows_LD: Tensor = self.text_encoder.get_input_embeddings()(ids_L)
        return rows_LD.detach().float().mean(0, keepdim=True).repeat(num_vectors, 1)

    def unread(self, prompt: str) -> str:
        """The end of a prompt that is too long to be read whole, or nothing."""
        room = self.tokenizer.model_max_length - 2
        return str(self.tokenizer.decode(self._words(prompt)[room:])).strip()

    # Pixels

    @torch.inference_mode()
    def encode(self, frames: FramesFHWC) -> Tensor:
        """Frames of one clip to scaled latents (1, C, F, H, W); the distribution's mean where the VAE gives one."""
        pixels_FCHW = torch.from_numpy(frames).movedim(-1, 1).to(self.device, self.vae.dtype) / 127.5 - 1
        encoded = self.vae.encode(pixels_FCHW)
        latents_FCHW = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        scaled: Tensor = latents_FCHW.float() * self.vae.config.scaling_factor
        return scaled.transpose(0, 1).unsqueeze(0)

    @torch.inference_mode()
    def decode(self, latents_BCFHW: Tensor) -> FramesFHWC:
        """Latents of one clip back to its frames."""
        latents_FCHW = latents_BCFHW[0].transpose(0, 1) / self.vae.config.scaling_factor
        pixels_FCHW = self.vae.decode(latents_FCHW.to(self.vae.dtype)).sample.float()
        levels = (pixels_FCHW.clamp(-1, 1) + 1) * 127.5
        return np.asarray(levels.round().to(torch.uint8).movedim(1, -1).cpu().numpy())

    # Diffusion

    def predict(self, latents_BCFHW: Tensor, timesteps_B: Tensor, conditioning: Tensor) -> Tensor:
        """The UNet's output, fp32; a conditioning of one row serves the whole batch."""
        text_BLD = conditioning.expand(len(latents_BCFHW), -1, -1)
        with self._autocast():
            predicted: Tensor = self.denoiser(latents_BCFHW, timesteps_B, text_BLD, return_dict=False)[0]
        return predicted.float()

    def add_noise(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noisy latents at these timesteps."""
        noisy: Tensor = self._noise.add_noise(latents_BCFHW, noise_BCFHW, timesteps_B)
        return noisy

    def target(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noise, or v (Salimans & Ho 2022), as the model's scheduler says it was trained."""
        if self._noise.config.prediction_type == "v_prediction":
            velocity: Tensor = self._noise.get_velocity(latents_BCFHW, noise_BCFHW, timesteps_B)
            return velocity
        return noise_BCFHW

    def scheduler(self) -> DDIMScheduler:
        """A fresh DDIM scheduler of this model's settings."""
        return DDIMScheduler.from_pretrained(self._scheduler_folder)

    @property
    def num_train_timesteps(self) -> int:
        """Timesteps run from 0 up to, not including, this."""
        return int(self._noise.config.num_train_timesteps)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != torch.float32)

    # Layers

    def temporal_targets(self) -> list[str]:
        """q, k, v and out of every temporal transformer, `transformer_in` included; both attentions are along time."""
        return _projections(self.denoiser, TransformerTemporalModel)

    def spatial_targets(self) -> list[str]:
        """q, k, v and out of every transformer within a frame: self-attention and attention to the text."""
        return _projections(self.denoiser, Transformer2DModel)

    @contextmanager
    def without_time(self) -> Iterator[None]:
        """Bypass every layer that mixes frames."""
        with without_time(self.denoiser):
            yield


@contextmanager
def without_time(unet: nn.Module) -> Iterator[None]:
    """Bypass every layer that mixes frames: `transformer_in`, `temp_attentions` and `temp_convs` pass their input on.

    A one-frame clip is no bypass: upstream runs these layers whatever the number of frames. Stage 1 trains like this
    (Ren et al. 2024, appearance absorbers).
    """
    layers = [layer for layer in unet.modules() if isinstance(layer, (TransformerTemporalModel, TemporalConvLayer))]
    try:
        for layer in layers:
            layer.forward = _pass_on if isinstance(layer, TemporalConvLayer) else _pass_on_in_tuple
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)  # the class's own forward shows again


def _pass_on(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


def _pass_on_in_tuple(hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
    return (hidden_states,)


def _load(kind: Any, folder: Path, dtype: torch.dtype, device: str) -> Any:
    """One part of the pipeline, frozen, without the libraries' bars and remarks. Raises IntegrityFailure."""
    key = "dtype" if kind is CLIPTextModel else "torch_dtype"
    with _damage_told(folder), _quiet():
        return kind.from_pretrained(folder, **{key: dtype}).to(device).eval().requires_grad_(False)


def _autoencoder_kind(folder: Path) -> Any:
    kinds = {"AutoencoderTiny": AutoencoderTiny, "AutoencoderKL": AutoencoderKL}
    with _damage_told(folder):
        name = str(AutoencoderTiny.load_config(folder).get("_class_name"))
    if name not in kinds:
        raise Incompatible(f"the model's `{folder.name}` is a {name}; only {' and '.join(kinds)} can be used yet")
    return kinds[name]


@contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    """Raises IntegrityFailure for what the libraries raise of a folder that is not whole."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise IntegrityFailure(f"cannot load the model's `{folder.name}`: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    diffusers_level = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(diffusers_level)
        transformers_logging.enable_progress_bar()


def _projections(unet: nn.Module, kind: type[nn.Module]) -> list[str]:
    """Names of the attention projections inside every module of a kind, in module order."""
    owners = [name for name, module in unet.named_modules() if isinstance(module, kind)]
    names = [f"{owner}.{name}" for owner in owners for name, _ in unet.get_submodule(owner).named_modules()]
    return [name for name in names if _PROJECTION.search(name)]


@contextmanager
def _learned_rows(text_encoder: Any, token_ND: Tensor) -> Iterator[None]:
    """Let ids past the vocabulary's end stand for the rows of `token_ND`, without touching the model's table."""
    table = text_encoder.get_input_embeddings()
    text_encoder.set_input_embeddings(_LongerTable(table, token_ND))
    try:
        yield
    finally:
        text_encoder.set_input_embeddings(table)


class _LongerTable(nn.Module):
    def __init__(self, table: nn.Embedding, token_ND: Tensor) -> None:
        super().__init__()
        self.table, self.token_ND = table, token_ND

    def forward(self, ids_BL: Tensor) -> Tensor:
        end = self.table.num_embeddings
        rows_BLD: Tensor = self.table(ids_BL.clamp(max=end - 1))
        learned_BLD = self.token_ND.to(rows_BLD.dtype)[(ids_BL - end).clamp(min=0)]
        return torch.where((ids_BL >= end).unsqueeze(-1), learned_BLD, rows_BLD)
