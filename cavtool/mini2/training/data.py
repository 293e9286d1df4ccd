"""The scenes a training sees: their latents, captions and ground truth, rendered and encoded once.

Shapes: N scenes, F frames, C channels, H W of latents, L tokens.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cavtool.errors import Conflict
from cavtool.mini2.training.architecture import to_model_range, to_tokens
from cavtool.mini2.training.plans import CLIP_SEEDS, STILL_SEEDS
from cavtool.mini2.training.stage import autocast, log, rank, wait_for_all
from cavtool.mini2.world.sampling import sample_scene, sample_still
from cavtool.mini2.world.scenes import NUM_FRAMES, SIZE, Frames, Scene, render

SUBJECT_WEIGHT = 4.0  # of the subject's places in a loss: they are few, and the hard part of a picture
_CHUNK, _SCENES = 256, 512  # frames that are encoded at once; scenes that are rendered before they are
_COMPARED, _ROUNDING = 4, 0.1  # scenes that are made again to see whether reused ones are the same; of unit variance


@dataclass(frozen=True)
class Scenes:
    """Scenes of one kind.

    `latents` (N, C, F, H, W) in fp16; `tokens` (N, L) of captions; `discs` (N, F, 3): x, y and radius of the subject,
    in frame widths from the upper left corner.
    """

    latents: Tensor
    tokens: Tensor
    discs: Tensor

    def to(self, device: str) -> "Scenes":
        """The same on another device."""
        return Scenes(self.latents.to(device), self.tokens.to(device), self.discs.to(device))


KINDS: dict[str, tuple[Callable[[int], Scene], int, int]] = {
    "stills": (sample_still, STILL_SEEDS, 1),
    "clips": (sample_scene, CLIP_SEEDS, NUM_FRAMES),
}


def subject_weight(discs_NF3: Tensor, side: int) -> Tensor:
    """Weights (N, F, side, side) of a loss: `SUBJECT_WEIGHT` on the subject's disc, 1 elsewhere."""
    line = (torch.arange(side, device=discs_NF3.device) + 0.5) / side
    x, y, radius = discs_NF3[..., None, None].unbind(2)
    inside = (line - x).square() + (line[:, None] - y).square() < (radius + 0.5 / side).square()
    return 1 + (SUBJECT_WEIGHT - 1) * inside


def draw_frames(kind: str, seed: int) -> tuple[Frames, str, Any]:
    """A scene's frames (F, H, W, 3), caption and discs (F, 3)."""
    sample, _, num_frames = KINDS[kind]
    scene = sample(seed)
    x, y, log_scale = (scene.channels[name][:num_frames] for name in ("x", "y", "log_scale"))
    discs = np.stack([0.5 + x, 0.5 + y, 0.5 * SIZE * np.exp(log_scale)], axis=1)
    return render(scene, num_frames), scene.caption, discs.astype(np.float32)


@torch.inference_mode()
def encode(vae: Any, frames_NHWC: Frames, device: str) -> Tensor:
    """Latents (N, C, H, W) in fp16, on the CPU."""
    chunks = []
    for i in range(0, len(frames_NHWC), _CHUNK):
        pixels = to_model_range(frames_NHWC[i : i + _CHUNK]).to(device, memory_format=torch.channels_last)
        with autocast(device):
            chunks.append(vae.encode(pixels).latents.half().cpu())
    return torch.cat(chunks)


def make_scenes(work: Path, kind: str, count: int, vae: Any, tokenizer: Any, device: str) -> Scenes:
    """Render and encode scenes of consecutive seeds, or read those made before.

    Raises Conflict if those were made of another world, by another autoencoder or for another plan.
    """
    path, first = work / f"data-{kind}.pt", KINDS[kind][1]
    if not path.exists() and rank() == 0:
        parts = []
        with render_pool(device) as pool:
            for start in range(first, first + count, _SCENES):
                seeds = range(start, min(start + _SCENES, first + count))
                drawn = pool.map(partial(draw_frames, kind), seeds, chunksize=16)
                frames, captions, discs = zip(*drawn, strict=True)
                latents_XCHW = encode(vae, np.concatenate(frames), device)
                latents_NFCHW = latents_XCHW.view(len(seeds), -1, *latents_XCHW.shape[1:])
                tokens_NL = to_tokens(tokenizer, list(captions)).short()
                parts.append((latents_NFCHW.transpose(1, 2).contiguous(), tokens_NL, torch.tensor(np.stack(discs))))
                log(work, stage=f"data: {kind}", step=seeds.stop - first)
        torch.save([torch.cat(part) for part in zip(*parts, strict=True)], path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
    wait_for_all()
    scenes = Scenes(*torch.load(path, weights_only=True))
    seeds = range(first, first + min(count, _COMPARED))
    frames, captions, _ = zip(*(draw_frames(kind, seed) for seed in seeds), strict=True)
    latents_XCHW = encode(vae, np.concatenate(frames), device)
    made_XCHW = scenes.latents[: len(seeds)].transpose(1, 2).flatten(0, 1)
    are_same = (
        len(scenes.latents) == count
        and torch.equal(to_tokens(tokenizer, list(captions)).short(), scenes.tokens[: len(seeds)])
        and torch.allclose(latents_XCHW.float(), made_XCHW.float(), atol=_ROUNDING)
    )
    check_reused(path, are_same=are_same)
    return scenes


def check_reused(path: Path, *, are_same: bool) -> None:
    """Raise Conflict unless the data of an earlier training are what this one would make."""
    if not are_same:
        message = f"`{path}` was made of another world, by another autoencoder or for another plan"
        raise Conflict(message, hint="train in another folder, or delete it together with the checkpoints")


def render_pool(device: str) -> Pool:
    """Processes that render: one a thread of torch's on the CPU, else one a core."""
    return get_context("spawn").Pool(torch.get_num_threads() if device == "cpu" else os.cpu_count())
