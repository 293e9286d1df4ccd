"""Wan (Wan Team 2025, `WanTransformer3DModel`): joint attention over all tokens of a clip, trained with flow matching.

Wan 2.1 1.3B and 14B and Wan 2.2 5B have one transformer, Wan 2.2 A14B two experts: `transformer` for the timesteps from
`boundary_ratio` on, `transformer_2` for the less noisy ones. There are no temporal layers. In our generalisation of
Ren et al. 2024, the motion trains the heads that look across frames; the absorber trains, on clips of one frame, the
heads that look within a frame and the attention to the text. It has been tested on random weights. Whether it separates
motion from appearance on trained weights has not been measured.

Shapes: B batch, F frames (of latents, if not of pixels), C channels, H W of latents or pixels, L tokens, D width.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttnProcessor, WanTransformerBlock
from torch import Tensor, nn
from transformers import AutoTokenizer, UMT5EncoderModel

from cavtool.core.adapters.heads import attention_shares, is_temporal
from cavtool.core.backbones.parts import flow, t5, video_vae
from cavtool.core.backbones.parts.layers import attention_projections, layers_of
from cavtool.core.backbones.parts.loading import explain_load_errors, load_model
from cavtool.core.backbones.parts.text import mean_embedding
from cavtool.core.backbones.protocol import FramesFHWC, Part
from cavtool.core.guidance import classifier_free
from cavtool.core.noise import seeded_noise
from cavtool.errors import Incompatible

EXPERTS = ("transformer", "transformer_2")  # for noisy and less noisy timesteps, by the names of their folders
_MOTION = (".attn1.to_q", ".attn1.to_k")  # v carries what is shown (Separate Motion from Appearance, 2501.16714)
_ABSORBER = (*_MOTION, ".attn1.to_v", ".attn2.to_q", ".attn2.to_k", ".attn2.to_v", ".attn2.to_out.0")
_CLASSIFIED_AT = (0.25, 0.5, 0.75)  # of the noise levels that an expert is for
_NUM_QUERIES = 256  # tokens whose attention is looked at in a layer; all would be slow in large clips


class Experts(nn.Module):
    """The transformers of a pipeline under the names of their folders, which begin the names of layers."""

    def __init__(self, *transformers: nn.Module) -> None:
        super().__init__()
        for name, transformer in zip(EXPERTS, transformers, strict=False):
            self.add_module(name, transformer)


class WanBackbone:
    """A pipeline folder of diffusers' `WanPipeline`, opened for training and sampling.

    On the CPU weights are kept in fp32 and computations are autocast to `dtype`. On an accelerator weights are kept in
    `dtype`, but the VAE and what diffusers excepts in fp32, and nothing is autocast, as in the pipeline. `flow_shift`
    replaces that of the scheduler. `motion_layers` are the endings of the names of the layers that a motion trains.
    """

    motion_layers: tuple[str, ...] = _MOTION

    def __init__(self, folder: Path, *, device: str, dtype: torch.dtype, flow_shift: float | None = None) -> None:
        self.device, self.dtype = device, dtype
        self._stored = torch.float32 if device == "cpu" else dtype
        self.vae = video_vae.load_vae(folder / "vae")
        boundary_ratio = self._check_kind(folder)
        names = EXPERTS if boundary_ratio else EXPERTS[:1]
        transformers = [load_model(WanTransformer3DModel, folder / name, self._stored) for name in names]
        self.denoiser: Any = Experts(*transformers)
        self.text_encoder = load_model(UMT5EncoderModel, folder / "text_encoder", self._stored)
        with explain_load_errors(folder / "tokenizer"):
            self.tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        self._scheduler_folder, self._flow_shift = folder / "scheduler", flow_shift
        self._noise = self.scheduler()
        self._boundary = boundary_ratio * self._num_timesteps
        self._frames_alone = False

    def _check_kind(self, folder: Path) -> float:
        """The share of the timesteps from which on the first of two experts works; 0 if there is one transformer.

        Raises Incompatible for a model that needs a picture, and for two experts of unknown timesteps.
        """
        config, index = (_read(folder, file) for file in ("transformer/config.json", "model_index.json"))
        if config.get("image_dim") or config.get("in_channels") != self.vae.config["z_dim"]:
            message = f"`{folder.name}` does not make videos from text alone: its transformer needs a picture"
            raise Incompatible(message, hint="`cav` needs a text-to-video model")
        if not (folder / EXPERTS[1]).is_dir():
            return 0.0
        if not index.get("boundary_ratio"):
            hint = "its `model_index.json` must have a `boundary_ratio`; download it again"
            raise Incompatible(f"`{folder.name}` does not say which timesteps its two transformers are for", hint=hint)
        return float(index["boundary_ratio"])

    # Text

    def encode_text(self, prompts: Sequence[str], token: Tensor | None = None) -> Tensor:
        """Prompts to (B, L, D). A learned `token` (N, D) replaces `*` in a prompt; without a `*` it is appended."""
        with self._autocast():
            return t5.encode_prompts(self.tokenizer, self.text_encoder.to(self.device), prompts, token)

    def token_like(self, text: str, num_vectors: int) -> Tensor:
        """Initial value (num_vectors, D) of a learned token: the mean embedding of the text's words."""
        return mean_embedding(self.tokenizer, self.text_encoder.to(self.device), text).repeat(num_vectors, 1)

    def truncated(self, prompt: str) -> str:
        """The end of the prompt that does not fit the text encoder and is cut off; empty if all of it fits."""
        return t5.truncated(self.tokenizer, prompt)

    # Pixels

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape (1, C, F, H, W) of the latents of one clip, sizes in pixels.

        Raises Incompatible, with the nearest valid value, if the number of frames is not 4n + 1 or the size is not a
        whole number of patches.
        """
        every = self.vae.config["scale_factor_temporal"]
        if (num_frames - 1) % every:
            nearest = every * max(0, round((num_frames - 1) / every)) + 1
            message = f"the model cannot process clips of {num_frames} frames: it needs {every}n + 1"
            raise Incompatible(message, hint=f"use {nearest} frames")
        factor = self.vae.config["scale_factor_spatial"]
        steps = [factor * side for side in self.denoiser.transformer.config["patch_size"][1:]]
        sides = [max(step, step * round(side / step)) for step, side in zip(steps, (height, width), strict=True)]
        if sides != [height, width]:
            message = (
                f"the model cannot process frames of {width}x{height}: it needs multiples of {steps[1]}x{steps[0]}"
            )
            raise Incompatible(message, hint=f"use {sides[1]}x{sides[0]}")
        return 1, self.vae.config["z_dim"], (num_frames - 1) // every + 1, height // factor, width // factor

    def encode_clip(self, frames: FramesFHWC) -> Tensor:
        """Frames of one clip to normalised latents (1, C, F, H, W). Raises Incompatible as `latent_shape` does."""
        self.latent_shape(*frames.shape[:3])
        return video_vae.encode_frames(self.vae.to(self.device), frames)

    def encode_stills(self, frames: FramesFHWC) -> Tensor:
        """Every frame to the normalised latents of a clip of one frame: (N, C, 1, H, W)."""
        self.latent_shape(1, *frames.shape[1:3])
        return video_vae.encode_stills(self.vae.to(self.device), frames)

    def decode(self, latents_BCFHW: Tensor) -> FramesFHWC:
        """Latents of one clip back to its frames."""
        return video_vae.decode_latents(self.vae.to(self.device), latents_BCFHW)

    # Diffusion

    def first_timestep(self, noise_from: float) -> int:
        """The timestep at the share `noise_from` in [0, 1) of the schedule, which the model's shift makes uneven."""
        timestep = flow.noise_level(self._noise, noise_from) * self._num_timesteps
        return int(timestep + 1e-6)  # as schedulers with whole timesteps, but not one less by a rounding error

    def draw_timesteps(self, generator: torch.Generator, count: int, noise_from: float = 0.0) -> Tensor:
        """Timesteps (count,), uniform in the share of the schedule as those of sampling are.

        This is our choice; public trainers for Wan also draw them from other distributions.
        """
        share_B = noise_from + (1 - noise_from) * torch.rand(count, generator=generator)
        level_B: Tensor = flow.noise_level(self._noise, share_B)
        return (level_B * self._num_timesteps).to(self.device)

    def add_noise(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The noisy latents at these timesteps."""
        return flow.add_noise(latents_BCFHW, noise_BCFHW, timesteps_B / self._num_timesteps)

    def target(self, latents_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """The velocity from the latents to the noise."""
        del timesteps_B
        return flow.velocity(latents_BCFHW, noise_BCFHW)

    def predict(self, latents_BCFHW: Tensor, timesteps_B: Tensor, conditioning: Tensor) -> Tensor:
        """The velocity, fp32, each clip by the expert for its timestep; a conditioning of one row serves all clips."""
        num_videos, _, num_frames, _, _ = latents_BCFHW.shape
        text_BLD = conditioning.expand(num_videos, -1, -1)
        if not self._frames_alone or num_frames == 1:
            return self._by_expert(latents_BCFHW, timesteps_B, text_BLD)
        frames = latents_BCFHW.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        repeated = (each.repeat_interleave(num_frames, 0) for each in (timesteps_B, text_BLD))
        predicted = self._by_expert(frames, *repeated).squeeze(2)
        return predicted.view(num_videos, num_frames, *predicted.shape[1:]).transpose(1, 2)

    def _by_expert(self, latents_BCFHW: Tensor, timesteps_B: Tensor, text_BLD: Tensor) -> Tensor:
        is_noisy_B = timesteps_B >= self._boundary
        if is_noisy_B.all():
            return self._denoise(self.denoiser.transformer, latents_BCFHW, timesteps_B, text_BLD)
        if not is_noisy_B.any():
            return self._denoise(self.denoiser.transformer_2, latents_BCFHW, timesteps_B, text_BLD)
        predicted = torch.empty_like(latents_BCFHW, dtype=torch.float32)
        for chosen_B in (is_noisy_B, ~is_noisy_B):
            predicted[chosen_B] = self._by_expert(latents_BCFHW[chosen_B], timesteps_B[chosen_B], text_BLD[chosen_B])
        return predicted

    def _denoise(self, expert: nn.Module, latents_BCFHW: Tensor, timesteps_B: Tensor, text_BLD: Tensor) -> Tensor:
        inputs = latents_BCFHW.to(self._stored), timesteps_B, text_BLD.to(self._stored)
        with self._autocast():
            predicted: Tensor = expert(*inputs, return_dict=False)[0]
        return predicted.float()

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # of norms: only slower
            with torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype != self._stored):
                yield

    def predict_guided(
        self,
        latents_BCFHW: Tensor,
        timesteps_B: Tensor,
        positive: Tensor,
        negative: Tensor,
        guidance_scale: float,
    ) -> Tensor:
        """The prediction with classifier-free guidance, one half after the other; at scale 1 `positive` alone."""
        conditional = self.predict(latents_BCFHW, timesteps_B, positive)
        if guidance_scale == 1:
            return conditional
        return classifier_free(self.predict(latents_BCFHW, timesteps_B, negative), conditional, guidance_scale)

    def scheduler(self, *, invertible: bool = False) -> Any:
        """A fresh scheduler of the model's class and settings; an `invertible` one takes Euler steps."""
        return flow.load_flow_scheduler(self._scheduler_folder, self._flow_shift, invertible=invertible)

    @property
    def expert_boundary(self) -> float:
        """The share of the schedule from which on the first of two experts works; 0 if there is one transformer."""
        return flow.share_of(self._noise, self._boundary / self._num_timesteps)

    @property
    def _num_timesteps(self) -> int:
        return int(self._noise.config.num_train_timesteps)

    # Layers

    def temporal_targets(self) -> list[str]:
        """Q and k of the attention over the clip, in every block; `classify_heads` says which heads of it."""
        return _layers(self.denoiser, self.motion_layers)

    def spatial_targets(self) -> list[str]:
        """q, k and v of the attention over the clip, meant for its spatial heads, and all attention to the text."""
        return _layers(self.denoiser, _ABSORBER)

    def spatial_parameters(self) -> list[str]:
        """All parameters: no layer is for time alone, and LoRAs made elsewhere may change any."""
        return [name for name, _ in self.denoiser.named_parameters()]

    @contextmanager
    def without_time(self) -> Iterator[None]:
        """Each frame of latents is processed as a clip of one frame, in which no head can look at another frame.

        Latents of single pictures come from `encode_stills`: those of a clip after its first hold several frames each.
        """
        before, self._frames_alone = self._frames_alone, True
        try:
            yield
        finally:
            self._frames_alone = before

    def feature_layers(self) -> list[nn.Module]:
        """The middle block of each expert, one of which works at a timestep."""
        return [expert.blocks[len(expert.blocks) // 2] for expert in self.denoiser.children()]

    @torch.no_grad()
    def classify_heads(self, latents_BCFHW: Tensor, prompt: str) -> dict[str, Tensor]:
        """Which heads (H,) of each `attn1` look across frames when this clip is denoised.

        A head's attention is averaged over a few timesteps, with seeded noise, and over a sample of the tokens.
        """
        text_BLD, latents_BCFHW = self.encode_text([prompt]), latents_BCFHW.to(self.device)
        heads: dict[str, Tensor] = {}
        for name, expert in self.denoiser.named_children():
            shares = [torch.zeros(2, expert.config["num_attention_heads"]) for _ in expert.blocks]
            for timesteps_B in self._timesteps_of(name):
                noise_BCFHW = seeded_noise(tuple(latents_BCFHW.shape), 0, self.device)
                with _recorded(expert, partial(_add_shares, shares, latents_BCFHW.shape[2])):
                    self._denoise(
                        expert, self.add_noise(latents_BCFHW, noise_BCFHW, timesteps_B), timesteps_B, text_BLD
                    )
            heads |= {f"{name}.blocks.{i}.attn1": is_temporal(*each_2H) for i, each_2H in enumerate(shares)}
        return heads

    def _timesteps_of(self, name: str) -> list[Tensor]:
        """A few timesteps (1,), evenly spaced over those that the expert is for."""
        low, high = (0.0, self._boundary) if name == "transformer_2" else (self._boundary, self._num_timesteps)
        return [torch.tensor([low + level * (high - low)], device=self.device) for level in _CLASSIFIED_AT]

    # Memory

    def activation_layers(self) -> list[nn.Module]:
        """The blocks of the transformers."""
        return layers_of(self.denoiser, WanTransformerBlock)

    def release(self, part: Part) -> None:
        """Move the VAE or the text encoder off the accelerator until it is next used; no change on the CPU."""
        getattr(self, part).to("cpu")


def _read(folder: Path, file: str) -> dict[str, Any]:
    """A JSON file of the pipeline folder. Raises IntegrityFailure if it is damaged."""
    with explain_load_errors(folder / file.partition("/")[0]):
        return dict(json.loads((folder / file).read_text(encoding="utf-8")))


def _layers(denoiser: nn.Module, endings: tuple[str, ...]) -> list[str]:
    """The names of the attention layers with these endings, in module order."""
    return [name for name in attention_projections(denoiser, WanTransformerBlock) if name.endswith(endings)]


@contextmanager
def _recorded(expert: Any, record: Callable[[int, Tensor, Tensor], None]) -> Iterator[None]:
    """Within the context `record` gets each block's number, and q and k (B, L, H, D) of its attention over the clip."""
    layers = [block.attn1 for block in expert.blocks]
    processors = [layer.processor for layer in layers]
    try:
        for index, layer in enumerate(layers):
            layer.set_processor(_Recorder(partial(record, index)))
        yield
    finally:
        for layer, processor in zip(layers, processors, strict=True):
            layer.set_processor(processor)


class _Recorder(WanAttnProcessor):  # type: ignore[misc]
    """The usual attention, whose q and k, normalised and rotated, are also given to `record`."""

    def __init__(self, record: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self.record = record

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, ...] = (),
    ) -> Tensor:
        pair = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(hidden_states))
        self.record(*(_rotated(each.unflatten(2, (attn.heads, -1)), *rotary_emb) for each in pair))
        attended: Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        return attended


def _rotated(states_BLHD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Q or k with Wan's rotary embedding of frame, row and column, as in `WanAttnProcessor`."""
    first, second = states_BLHD[..., 0::2], states_BLHD[..., 1::2]
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2)


def _add_shares(shares: list[Tensor], num_frames: int, index: int, query_BLHD: Tensor, key_BLHD: Tensor) -> None:
    """Add the shares of attention (2, H) of one block, at the same tokens in every block and at every timestep."""
    query_HLD, key_HLD = (each[0].transpose(0, 1) for each in (query_BLHD, key_BLHD))
    order_L = torch.randperm(query_HLD.shape[1], generator=torch.Generator().manual_seed(0)).to(query_HLD.device)
    both = attention_shares(query_HLD, key_HLD, num_frames, order_L[:_NUM_QUERIES])
    shares[index] += torch.stack(both).cpu()
