"""How cav-mini's weights are made, from nothing: `python -m cavtool.mini.pretrain WORK --plan cpu`.

Stages, each resumable from its last checkpoint and logged to `WORK/log.jsonl`:

1. data         render stills and clips of the pretraining world (never a held-out look or course)
2. autoencoder  AutoencoderTiny, 12x8x8 latents: L1 + gradient L1, the subject counting more than its surroundings
3. latents      encode all stills and clips once
4. decoder      the autoencoder's second half alone, on latents that are off, as a denoiser leaves them
5. stills       UNet and text encoder together, on single frames with time bypassed
6. words        the text encoder alone, on what the words of motion mean
7. videos       UNet and text encoder on clips, with some bypassed still batches mixed in
8. export       the averaged weights as a fp16 diffusers pipeline folder, `WORK/pipeline`

`--minutes M` stops after M minutes at a checkpoint; the same command goes on. `--start FOLDER` begins from the weights
of an exported pipeline, Adam restarting with its warm-up. `--steps AUTOENCODER DECODER STILLS WORDS VIDEOS` says how
long each stage trains; one of 0 steps keeps its weights.
The denoiser predicts v (Salimans & Ho 2022) with zero terminal SNR (Lin et al. 2024).
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cavtool.errors import Conflict
from cavtool.mini import world
from cavtool.mini.architecture import (
    Denoiser,
    export,
    new_autoencoder,
    new_tokenizer,
    start_from,
    to_model_range,
    to_tokens,
)
from cavtool.mini.plans import CLIP_SEEDS, PLANS, SEED, STILL_SEEDS, Plan
from cavtool.mini.train_autoencoder import autoencoder_stage, decoder_stage
from cavtool.mini.train_denoiser import denoiser_stages
from cavtool.mini2.training.stage import autocast
from cavtool.system.files import write_atomic
from cavtool.system.platform import keep_freed_memory

_COMPARED = 64  # captions of a work folder that are drawn again, to know its data


def _render_all(
    draw: Callable[[int], tuple[world.Frames, str]], first: int, count: int
) -> Iterator[tuple[world.Frames, str]]:
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap(draw, range(first, first + count), chunksize=32)


def make_data(work: Path, plan: Plan) -> None:
    """Render everything: `stills.npy` (N, H, W, 3), `clips.npy` (N, F, H, W, 3), and their captions as JSON."""
    shapes: dict[str, tuple[Any, int, int, tuple[int, ...]]] = {
        "stills": (world.draw_still, STILL_SEEDS, plan.num_stills, ()),
        "clips": (world.draw_clip, CLIP_SEEDS, plan.num_clips, (world.NUM_FRAMES,)),
    }
    for name, (draw, first, count, lead) in shapes.items():
        if (work / f"{name}.json").exists():
            _check_drawn_alike(work / f"{name}.json", draw, first, count)
            continue
        shape = (count, *lead, world.SIDE, world.SIDE, 3)
        frames = np.lib.format.open_memmap(work / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)
        captions = []
        for i, (pixels, caption) in enumerate(_render_all(draw, first, count)):
            frames[i] = pixels
            captions.append(caption)
        frames.flush()
        text = json.dumps(captions)
        write_atomic(work / f"{name}.json", lambda path, text=text: path.write_text(text))  # type: ignore[misc]


def _check_drawn_alike(path: Path, draw: Callable[[int], tuple[world.Frames, str]], first: int, count: int) -> None:
    """Raise Conflict where a work folder holds the data of another world or plan than today's."""
    captions = json.loads(path.read_text())
    if len(captions) != count or captions[:_COMPARED] != [draw(first + i)[1] for i in range(min(count, _COMPARED))]:
        raise Conflict(f"`{path.parent}` holds data of another world or plan", hint="begin in another folder")


@torch.inference_mode()
def encode_all(work: Path, vae: Any, tokenizer: Any, device: str) -> None:
    """`latents-{stills,clips}.pt`: latents (N, C, F, H, W) in fp16 and token ids (N, L)."""
    for name in ("stills", "clips"):
        path = work / f"latents-{name}.pt"
        if path.exists():
            continue
        frames = np.load(work / f"{name}.npy", mmap_mode="r")
        flat = frames.reshape(-1, *frames.shape[-3:])
        chunks = []
        for i in range(0, len(flat), 512):
            batch = to_model_range(flat[i : i + 512]).to(device, memory_format=torch.channels_last)
            with autocast(device):
                chunks.append(vae.encode(batch).latents.half().cpu())
        latents = torch.cat(chunks).view(len(frames), -1, *chunks[0].shape[1:]).transpose(1, 2).contiguous()
        captions = json.loads((work / f"{name}.json").read_text())
        torch.save({"latents": latents, "tokens": to_tokens(tokenizer, captions)}, work / "latents.tmp")
        (work / "latents.tmp").replace(path)


def pretrain(
    work: Path, plan: Plan, *, device: str, minutes: float, start: Path | None = None, compiled: bool = False
) -> bool:
    """Run the stages that are not done yet, until done (True) or out of time (False)."""
    deadline = time.monotonic() + 60 * minutes
    work.mkdir(parents=True, exist_ok=True)
    make_data(work, plan)
    torch.manual_seed(SEED)
    tokenizer = new_tokenizer()
    vae = new_autoencoder().to(device, memory_format=torch.channels_last)
    denoiser = Denoiser(tokenizer).to(device)
    if device == "cpu":
        from diffusers.models.attention_processor import AttnProcessor

        denoiser.unet.set_attn_processor(AttnProcessor())  # SDPA is slow on thousands of short sequences
    if compiled:
        denoiser.unet.compile(dynamic=False)  # stills and clips differ in shape, so each has its own code
    if start:
        start_from(start, vae, denoiser, tokenizer)
    if not autoencoder_stage(work, plan, vae, device).train(work, deadline):
        return False
    encode_all(work, vae, tokenizer, device)
    if not decoder_stage(work, plan, vae, device).train(work, deadline):
        return False
    done = all(stage.train(work, deadline) for stage in denoiser_stages(work, plan, denoiser, tokenizer, device))
    export(work / "pipeline", vae, tokenizer, denoiser)
    return done


def main() -> None:
    """The recipe as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for data, checkpoints, log and result")
    parser.add_argument("--plan", choices=PLANS, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop at a checkpoint after so many")
    parser.add_argument("--start", type=Path, help="begin from the weights of an exported pipeline folder")
    parser.add_argument("--steps", type=int, nargs=5, help="steps of the five stages that learn, for the plan's")
    parser.add_argument("--compile", action="store_true", help="torch.compile the denoiser: a minute, then faster")
    args = parser.parse_args()
    plan = PLANS[args.plan]
    if args.steps:
        names = ("autoencoder_steps", "decoder_steps", "still_steps", "word_steps", "video_steps")
        plan = replace(plan, **dict(zip(names, args.steps, strict=True)))
    keep_freed_memory()
    try:
        done = pretrain(
            args.work, plan, device=args.device, minutes=args.minutes, start=args.start, compiled=args.compile
        )
    except Conflict as conflict:
        parser.error(f"{conflict.message}: {conflict.hint}")
    print("done" if done else "out of time: the same command goes on")  # noqa: T201


if __name__ == "__main__":
    main()
