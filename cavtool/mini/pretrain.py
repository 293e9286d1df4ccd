"""How cav-mini's weights are made, from nothing: `python -m cavtool.mini.pretrain WORK --plan cpu`.

Stages, each resumable from its last checkpoint and logged to `WORK/log.jsonl`:

1. data         render stills and clips of the pretraining world (never a held-out look or course)
2. autoencoder  AutoencoderTiny, 12x8x8 latents: L1 + gradient L1, the subject counting more than its surroundings
3. latents      encode all stills and clips once
4. decoder      the autoencoder's second half alone, on latents that are off, as a denoiser leaves them
5. stills       UNet and text encoder together, on single frames with time bypassed
6. videos       the same on clips, with some bypassed still batches mixed in
7. export       the averaged weights as a fp16 diffusers pipeline folder, `WORK/pipeline`

`--minutes M` stops after M minutes at a checkpoint; the same command goes on. `--start FOLDER` begins from the weights
of an exported pipeline, Adam restarting with its warm-up. `--steps AUTOENCODER DECODER STILLS VIDEOS` says how long
each stage trains; one of 0 steps keeps its weights.
The denoiser predicts v (Salimans & Ho 2022) with zero terminal SNR (Lin et al. 2024).
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cavtool.core.backbones.unet3d import without_time
from cavtool.core.devices import keep_freed_memory
from cavtool.mini import world
from cavtool.mini.architecture import MAX_TOKENS, Denoiser, new_autoencoder, new_scheduler, new_tokenizer
from cavtool.mini.reader import NONE, MoveReader, Reader, on_subject, truth_of
from cavtool.mini.stage import Stage

SUBJECT_WEIGHT = 4.0
READING_WEIGHT, MOVES_WEIGHT = 0.1, 0.2
LATENT_NOISE, READING_NOISE = 0.03, 0.3
DENOISED_ERROR = 0.4  # of latents, at most; they have unit variance
SEED = 20240222
_CLIP_SEEDS, _STILL_SEEDS = 10_000_000, 20_000_000  # far apart, and far from the seeds tests and benchmarks use


@dataclass(frozen=True)
class Plan:
    """How much of everything; what the two machines differ in."""

    num_stills: int
    num_clips: int
    autoencoder_steps: int
    decoder_steps: int
    still_steps: int
    video_steps: int
    frames_per_step: int = 32
    stills_per_step: int = 64
    clips_per_step: int = 16
    stills_every: int = 3  # one video-stage step in so many is a bypassed still batch
    autoencoder_lr: float = 2e-3
    lr: float = 8e-4


PLANS = {
    "cpu": Plan(
        num_stills=50_000,
        num_clips=16_000,
        autoencoder_steps=9_000,
        decoder_steps=3_000,
        still_steps=12_000,
        video_steps=10_500,
    ),
    "cuda": Plan(
        num_stills=120_000,
        num_clips=60_000,
        autoencoder_steps=8_000,
        decoder_steps=4_000,
        still_steps=6_000,
        video_steps=24_000,
        stills_per_step=128,
        clips_per_step=64,
    ),
}


# Data


def _render_all(
    draw: Callable[[int], tuple[world.Frames, str]], first: int, count: int
) -> Iterator[tuple[world.Frames, str]]:
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap(draw, range(first, first + count), chunksize=32)


def make_data(work: Path, plan: Plan) -> None:
    """Render everything: `stills.npy` (N, H, W, 3), `clips.npy` (N, F, H, W, 3), and their captions as JSON."""
    shapes: dict[str, tuple[Any, int, int, tuple[int, ...]]] = {
        "stills": (world.draw_still, _STILL_SEEDS, plan.num_stills, ()),
        "clips": (world.draw_clip, _CLIP_SEEDS, plan.num_clips, (world.NUM_FRAMES,)),
    }
    for name, (draw, first, count, lead) in shapes.items():
        if (work / f"{name}.json").exists():
            continue
        shape = (count, *lead, world.SIDE, world.SIDE, 3)
        frames = np.lib.format.open_memmap(work / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)
        captions = []
        for i, (pixels, caption) in enumerate(_render_all(draw, first, count)):
            frames[i] = pixels
            captions.append(caption)
        frames.flush()
        (work / f"{name}.json").write_text(json.dumps(captions))


def to_model_range(frames: np.ndarray[Any, Any]) -> Tensor:
    """(..., H, W, 3) bytes to (..., 3, H, W) floats in [-1, 1]."""
    return torch.tensor(frames).movedim(-1, -3).float() / 127.5 - 1


def _generator(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(SEED * 1_000_003 + step)


# Stage 2: the autoencoder


class Autoencoding(nn.Module):
    """All that learns in the first stage: the autoencoder, and the reader of its latents."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.reader = Reader(vae.config.latent_channels)


def autoencoder_stage(work: Path, plan: Plan, vae: Any, device: str) -> Stage:
    """L1 + gradient L1 over stills, the latents kept near zero mean and unit variance and slightly noised.

    The surroundings are most of a picture and the easy part of it: the subject's pixels count `SUBJECT_WEIGHT` times.
    Some stills are recoloured, so that it is no expert of ten colours and eight places. What is shown must be plain to
    see in the latents, or the denoiser, which learns from them, is long in finding it.
    """
    stills = np.load(work / "stills.npy", mmap_mode="r")
    truths = truth_of(world.sample_still, _STILL_SEEDS, len(stills), 1)
    learner = Autoencoding(vae).to(device)

    def loss_at(step: int) -> Tensor:
        generator = _generator(step)
        picks = torch.randint(len(stills), (plan.frames_per_step,), generator=generator)
        frames_BCHW, truth = to_model_range(stills[picks.numpy()]), truths[picks]
        recoloured = plan.frames_per_step // 4
        frames_BCHW[:recoloured] = _recolour(frames_BCHW[:recoloured], generator)
        truth.looks[:recoloured, 1] = NONE
        frames_BCHW = frames_BCHW.to(device, memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            latents_BCHW = vae.encode(frames_BCHW).latents.float()
            noise = torch.randn(latents_BCHW.shape, generator=generator).to(device)
            decoded_BCHW = vae.decode(latents_BCHW + LATENT_NOISE * noise).sample.float()
            misread = learner.reader.loss(latents_BCHW + READING_NOISE * noise, truth)
        weight_B1HW = subject_weight(truth.discs, world.SIDE).to(device)
        loss: Tensor = _picture_loss(decoded_BCHW, frames_BCHW, weight_B1HW) + 0.01 * _unit_loss(latents_BCHW)
        return loss + READING_WEIGHT * misread

    return Stage("autoencoder", learner, plan.autoencoder_steps, plan.autoencoder_lr, loss_at)


def _recolour(frames_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Channels shuffled, each frame paler or grey, lighter or darker, less or more in contrast."""
    saturation, contrast, light = torch.rand(3, len(frames_BCHW), 1, 1, 1, generator=generator)
    frames_BCHW = frames_BCHW[:, torch.randperm(3, generator=generator)]
    frames_BCHW = torch.lerp(frames_BCHW.mean(1, keepdim=True), frames_BCHW, saturation)
    recoloured: Tensor = (frames_BCHW * (0.5 + contrast) + light - 0.5).clamp(-1, 1)
    return recoloured


def subject_weight(discs: Tensor, side: int) -> Tensor:
    """How much each of side x side places of a frame counts: `SUBJECT_WEIGHT` on the subject's disc, else 1.

    Discs (..., 3) as of `reader.Truth` to weights (..., side, side).
    """
    return torch.where(on_subject(discs, side), SUBJECT_WEIGHT, 1.0)


def _picture_loss(a_BCHW: Tensor, b_BCHW: Tensor, weight_B1HW: Tensor) -> Tensor:
    error_BCHW = a_BCHW - b_BCHW
    down, right = (error_BCHW.diff(dim=dim).abs() for dim in (2, 3))
    steps = (down * weight_B1HW[:, :, 1:]).mean() + (right * weight_B1HW[..., 1:]).mean()
    return (error_BCHW.abs() * weight_B1HW).mean() + 0.5 * steps


def _unit_loss(latents_BCHW: Tensor) -> Tensor:
    mean, std = latents_BCHW.mean((0, 2, 3)), latents_BCHW.std((0, 2, 3))
    return (mean.square() + std.log().square()).mean()


# Stage 3: the latents, once


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
            with torch.autocast(device, torch.bfloat16):
                chunks.append(vae.encode(batch).latents.half().cpu())
        latents = torch.cat(chunks).view(len(frames), -1, *chunks[0].shape[1:]).transpose(1, 2).contiguous()
        captions = json.loads((work / f"{name}.json").read_text())
        torch.save({"latents": latents, "tokens": _tokens(tokenizer, captions)}, path)


def _tokens(tokenizer: Any, captions: list[str]) -> Tensor:
    ids = tokenizer(captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    return torch.as_tensor(ids.input_ids)


# Stage 4: the decoder


def decoder_stage(work: Path, plan: Plan, vae: Any, device: str) -> Stage:
    """The decoder learns to forgive: from latents more or less off, the pictures they were.

    A denoiser never hits a latent exactly; a decoder that has only seen exact ones makes stained glass of that.
    """
    stills = np.load(work / "stills.npy", mmap_mode="r")
    latents_NCHW = torch.load(work / "latents-stills.pt", weights_only=True)["latents"][:, :, 0]
    discs = truth_of(world.sample_still, _STILL_SEEDS, len(stills), 1).discs

    def loss_at(step: int) -> Tensor:
        generator = _generator(step)
        picks = torch.randint(len(stills), (plan.frames_per_step,), generator=generator)
        exact_BCHW = latents_NCHW[picks].float()
        off_B = DENOISED_ERROR * torch.rand(len(picks), 1, 1, 1, generator=generator)
        latents_BCHW = exact_BCHW + off_B * torch.randn(exact_BCHW.shape, generator=generator)
        with torch.autocast(device, torch.bfloat16):
            decoded_BCHW = vae.decode(latents_BCHW.to(device, memory_format=torch.channels_last)).sample.float()
        frames_BCHW = to_model_range(stills[picks.numpy()]).to(device)
        return _picture_loss(decoded_BCHW, frames_BCHW, subject_weight(discs[picks], world.SIDE).to(device))

    return Stage("decoder", vae.decoder, plan.decoder_steps, plan.autoencoder_lr / 2, loss_at)


# Stages 5 and 6: the denoiser


class Denoising(nn.Module):
    """All that learns in the last two stages: the denoiser, and the readers that help it."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser
        width = denoiser.unet.config.block_out_channels[-1]
        self.reader, self.move_reader = Reader(width), MoveReader(width)
        denoiser.unet.up_blocks[0].register_forward_hook(self._keep)

    def _keep(self, _block: nn.Module, _args: Any, features: Tensor) -> None:
        self.features = features  # before the last block, of the run last made


def denoiser_stages(work: Path, plan: Plan, denoiser: Denoiser, tokenizer: Any, device: str) -> list[Stage]:
    """Stills with time bypassed, then clips with such batches mixed in.

    As in the autoencoder the subject's places count more; nearly clean latents, whose noise is hard to tell and does no
    harm, count less (in the way of Hang et al. 2023). The best prediction is the same, whatever each place and timestep
    counts: this says what to learn first. So do the readers.
    """
    stills, clips = (torch.load(work / f"latents-{name}.pt", weights_only=True) for name in ("stills", "clips"))
    stills["truth"] = truth_of(world.sample_still, _STILL_SEEDS, len(stills["latents"]), 1)
    clips["truth"] = truth_of(world.sample_scene, _CLIP_SEEDS, len(clips["latents"]), world.NUM_FRAMES)
    no_text = _tokens(tokenizer, [""])
    alphas = new_scheduler().alphas_cumprod
    learner = Denoising(denoiser).to(device)

    def loss_of(data: dict[str, Any], count: int, step: int) -> Tensor:
        generator = _generator(step)
        picks = torch.randint(len(data["latents"]), (count,), generator=generator)
        latents_BCFHW = data["latents"][picks].float().to(device)
        truth = data["truth"][picks]
        dropped = torch.rand(count, 1, generator=generator) < 0.1
        tokens_BL = torch.where(dropped, no_text, data["tokens"][picks]).to(device)
        noise_BCFHW = torch.randn(latents_BCFHW.shape, generator=generator).to(device)
        timesteps_B = _timesteps(len(alphas), latents_BCFHW.shape, generator)
        alpha = alphas[timesteps_B].sqrt().view(-1, 1, 1, 1, 1).to(device)
        sigma = (1 - alphas[timesteps_B]).sqrt().view(-1, 1, 1, 1, 1).to(device)
        with torch.autocast(device, torch.bfloat16):
            text_BLD = denoiser.text_encoder(tokens_BL)[0]
            noisy_BCFHW = alpha * latents_BCFHW + sigma * noise_BCFHW
            v_pred = denoiser.unet(noisy_BCFHW, timesteps_B.to(device), text_BLD).sample
            misread = READING_WEIGHT * learner.reader.loss(learner.features, truth)
            misread = misread + MOVES_WEIGHT * learner.move_reader.loss(learner.features, truth)
        target = alpha * noise_BCFHW - sigma * latents_BCFHW
        weight_BFHW = subject_weight(truth.discs, latents_BCFHW.shape[-1]).to(device)
        error_BFHW = (v_pred.float() - target).square().mean(1)
        noise_to_signal_B = (sigma / alpha).square().clamp(max=1).view(-1, 1, 1, 1)
        loss: Tensor = (error_BFHW * weight_BFHW * noise_to_signal_B).sum() / weight_BFHW.sum()
        return loss + misread

    def still_loss(step: int) -> Tensor:
        with without_time(denoiser.unet):
            return loss_of(stills, plan.stills_per_step, step)

    def video_loss(step: int) -> Tensor:
        if step % plan.stills_every == 0:
            return still_loss(step)
        return loss_of(clips, plan.clips_per_step, step)

    return [
        Stage("stills", learner, plan.still_steps, plan.lr, still_loss),
        Stage("videos", learner, plan.video_steps, plan.lr, video_loss),
    ]


def _timesteps(num: int, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Uniform for stills; for clips the noisier the likelier: P(t < u * num) = 1 - sqrt(1 - u).

    Sixteen frames tell through much noise how all moves: only in the last tenth of the timesteps is there anything
    left for the words to say about it (as the resolution-dependent shift of Esser et al. 2024, for frames).
    """
    quiet_B = torch.rand(shape[0], generator=generator)
    if shape[2] > 1:
        quiet_B = quiet_B.square()
    return ((1 - quiet_B) * num).long().clamp(max=num - 1)


# Stage 7, and the whole


def export(folder: Path, vae: Any, tokenizer: Any, denoiser: Denoiser) -> None:
    """A fp16 pipeline folder that `TextToVideoSDPipeline.from_pretrained` loads unchanged."""
    from diffusers import TextToVideoSDPipeline

    tokenizer.backend_tokenizer.no_truncation()  # of training's captions: it would be saved
    tokenizer.backend_tokenizer.no_padding()
    pipeline = TextToVideoSDPipeline(vae, denoiser.text_encoder, tokenizer, denoiser.unet, new_scheduler())
    pipeline.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(dtype=torch.float32)
    # transformers loads what config.json says, diffusers fp32: said here too, else they would not fit together
    config = folder / "text_encoder" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))


def start_from(folder: Path, vae: Any, denoiser: Denoiser) -> None:
    """Begin with the weights of an exported pipeline."""
    from diffusers import TextToVideoSDPipeline

    pipeline = TextToVideoSDPipeline.from_pretrained(folder)
    for mine, theirs in (
        (vae, pipeline.vae),
        (denoiser.unet, pipeline.unet),
        (denoiser.text_encoder, pipeline.text_encoder),
    ):
        mine.load_state_dict(theirs.state_dict())


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
        start_from(start, vae, denoiser)
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
    parser.add_argument("--steps", type=int, nargs=4, help="steps of the four stages that learn, for the plan's")
    parser.add_argument("--compile", action="store_true", help="torch.compile the denoiser: a minute, then faster")
    args = parser.parse_args()
    plan = PLANS[args.plan]
    if args.steps:
        names = ("autoencoder_steps", "decoder_steps", "still_steps", "video_steps")
        plan = replace(plan, **dict(zip(names, args.steps, strict=True)))
    keep_freed_memory()
    done = pretrain(args.work, plan, device=args.device, minutes=args.minutes, start=args.start, compiled=args.compile)
    print("done" if done else "out of time: the same command goes on")  # noqa: T201


if __name__ == "__main__":
    main()
