"""The scenes a training sees: their latents, captions and ground truth, from chunks that other processes render.

Shapes: N scenes, F frames, C channels, H W of latents, L tokens, K controls.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cavtool.errors import Conflict
from cavtool.mini2.training.architecture import LATENT_CHANNELS, LATENT_SIDE, MAX_TOKENS, to_model_range, to_tokens
from cavtool.mini2.training.rendering import CONTROLS, KINDS, chunk_path, draw_many
from cavtool.mini2.training.stage import autocast, num_processes, rank
from cavtool.mini2.world.scenes import Frames

SUBJECT_WEIGHT = 4.0  # of the subject's places in a loss: they are few, and the hard part of a picture
_BATCH = 256  # frames that are encoded at once
_COMPARED, _ROUNDING = 4, 0.1  # scenes that are made again to see whether reused ones are the same; of unit variance


class Scenes:
    """Scenes of one kind, growing while they are rendered: this process's share of the folder's chunks.

    `latents` (N, C, F, H, W) in fp16; `tokens` (N, L) of captions; `discs` (N, F, 3) and `moves` (N, F, K) as `Drawn`
    has them. Of these N, the first `ready` are there. A chunk is encoded once, and kept in the place of its frames.
    """

    def __init__(
        self, folder: Path, count: int, vae: Any, tokenizer: Any, device: str, is_rendering: Callable[[], bool]
    ) -> None:
        """Wait for the first scenes.

        Raises Conflict if they were made of another world or by another autoencoder, and RuntimeError if nobody renders
        any.
        """
        self._folder, self._vae, self._tokenizer, self._device = folder, vae, tokenizer, device
        kind = KINDS[folder.name]
        self._next, self._num_chunks = rank(), -(-count // kind.chunk)
        share = min(count, -(-self._num_chunks // num_processes()) * kind.chunk)
        by_frame: dict[str, Any] = {"dtype": torch.float32, "device": device}
        latent = (LATENT_CHANNELS, kind.num_frames, LATENT_SIDE, LATENT_SIDE)
        self.latents = torch.empty(share, *latent, dtype=torch.float16, device=device)
        self.tokens = torch.empty(share, MAX_TOKENS, dtype=torch.int16, device=device)
        self.discs = torch.empty(share, kind.num_frames, 3, **by_frame)
        self.moves = torch.empty(share, kind.num_frames, len(CONTROLS), **by_frame)
        self.ready = 0
        self._is_rendering = is_rendering
        self._loader = ThreadPoolExecutor(1)
        self._loading: Future[dict[str, Any]] | None = None
        while (kept := chunk_path(folder, self._next).with_suffix(".pt")).exists():
            self._take_in(torch.load(kept, weights_only=True))
        if self.ready:
            self._check_first()
        while not self.ready:
            is_last = not is_rendering()
            self.look()
            if not self.ready and not self._loading and is_last:
                raise RuntimeError(f"the rendering ended before there was anything in {folder}")
            time.sleep(0.1)

    def look(self) -> None:
        """Take in the next chunk, if it is there and loaded; a thread loads it meanwhile.

        Raises RuntimeError if the rendering has failed.
        """
        if self._next >= self._num_chunks:
            return
        self._is_rendering()
        path = chunk_path(self._folder, self._next)
        raw, kept, unfinished = (path.with_suffix(f".{suffix}") for suffix in ("npz", "pt", "tmp"))
        if self._loading is None and raw.exists():
            self._loading = self._loader.submit(lambda: dict(np.load(raw)))
        elif self._loading is not None and self._loading.done():
            fields = self._encoded(self._loading.result())
            self._loading = None
            torch.save(fields, unfinished)
            unfinished.replace(kept)
            raw.unlink()
            self._take_in(fields)

    def _take_in(self, fields: dict[str, Tensor]) -> None:
        rows = slice(self.ready, self.ready + len(fields["latents"]))
        check_reused(self._folder, are_same=rows.stop <= len(self.latents))
        for name, value in fields.items():
            getattr(self, name)[rows] = value.to(self.latents.device)
        self.ready = rows.stop
        self._next += num_processes()

    def _encoded(self, drawn: dict[str, Any]) -> dict[str, Tensor]:
        frames_NFHWC = drawn["frames"]
        latents_XCHW = encode(self._vae, frames_NFHWC.reshape(-1, *frames_NFHWC.shape[2:]), self._device)
        latents_NFCHW = latents_XCHW.view(*frames_NFHWC.shape[:2], *latents_XCHW.shape[1:])
        return {
            "latents": latents_NFCHW.transpose(1, 2).contiguous(),
            "tokens": to_tokens(self._tokenizer, drawn["captions"].tolist()).short(),
            "discs": torch.from_numpy(drawn["discs"]),
            "moves": torch.from_numpy(drawn["moves"]),
        }

    def _check_first(self) -> None:
        num = min(_COMPARED, self.ready)
        first = rank() * KINDS[self._folder.name].chunk
        again = self._encoded(draw_many(self._folder.name, range(first, first + num)))
        are_same = torch.equal(again["tokens"], self.tokens[:num].cpu()) and torch.allclose(
            again["latents"].float(), self.latents[:num].cpu().float(), atol=_ROUNDING
        )
        check_reused(self._folder, are_same=are_same)


def subject_weight(discs_NF3: Tensor, side: int) -> Tensor:
    """Weights (N, F, side, side) of a loss: `SUBJECT_WEIGHT` on the subject's disc, 1 elsewhere."""
    line = (torch.arange(side, device=discs_NF3.device) + 0.5) / side
    x, y, radius = discs_NF3[..., None, None].unbind(2)
    inside = (line - x).square() + (line[:, None] - y).square() < (radius + 0.5 / side).square()
    return 1 + (SUBJECT_WEIGHT - 1) * inside


@torch.inference_mode()
def encode(vae: Any, frames_NHWC: Frames, device: str) -> Tensor:
    """Latents (N, C, H, W) in fp16, on the CPU."""
    batches = []
    for i in range(0, len(frames_NHWC), _BATCH):
        pixels = to_model_range(frames_NHWC[i : i + _BATCH], device).contiguous(memory_format=torch.channels_last)
        with autocast(device):
            batches.append(vae.encode(pixels).latents.half())
    return torch.cat(batches).cpu()


def check_reused(path: Path, *, are_same: bool) -> None:
    """Raise Conflict unless the data of an earlier training are what this one would make."""
    if not are_same:
        message = f"`{path}` was made of another world, by another autoencoder or for another plan"
        raise Conflict(message, hint="train in another folder, or delete it together with the checkpoints")


def render_pool(device: str) -> Pool:
    """Processes that render: one per torch thread on the CPU, otherwise one per core."""
    return get_context("spawn").Pool(torch.get_num_threads() if device == "cpu" else os.cpu_count())
