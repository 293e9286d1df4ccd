"""How cav-mini's weights are made, from nothing: `python -m cavtool.mini2.training WORK`.

Stages, each resumable from its last checkpoint and logged to `WORK/log.jsonl`:

1. autoencoder  AutoencoderTiny, latents of 4x16x16, on stills: L1 + gradient L1
2. words        the text encoder alone: what a caption says of how everything moves; then it is frozen
3. stills       the denoiser on single frames, with time bypassed
4. courses      its motion modules and cross-attention learn words of motion, at pure noise
5. sparse       the denoiser on a few frames of each clip, and some stills
6. videos       the same on whole clips
7. export       the averaged weights as a fp16 diffusers pipeline folder, `WORK/pipeline`

What the denoiser sees is rendered beside its stages, once; it is never a held-out subject, colour, place or track.

`--start FOLDER` takes what a pipeline folder has: an autoencoder and a text encoder are not trained again, a denoiser
goes on with clips.

`--minutes M` stops after M minutes at a checkpoint; run the same command to resume. With `--finish`, the training is
done then: the learning rate of clips falls to 0 by that time.

On a CPU, a process of one thread for each core does the most:
`torchrun --nproc-per-node 2 -m cavtool.mini2.training WORK --threads 1`.
"""

import argparse
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from pathlib import Path

import torch

from cavtool.errors import Conflict
from cavtool.mini2.training.architecture import Denoiser, export, load_parts, new_autoencoder, new_tokenizer
from cavtool.mini2.training.autoencoder import autoencoder_stage
from cavtool.mini2.training.courses import CourseReader, course_stage
from cavtool.mini2.training.data import Scenes
from cavtool.mini2.training.denoiser import still_stage, video_stage
from cavtool.mini2.training.plans import PLANS, SEED, Plan
from cavtool.mini2.training.rendering import renderers
from cavtool.mini2.training.stage import Stage, join_processes, rank
from cavtool.mini2.training.words import make_captions, words_stage
from cavtool.system.platform import keep_freed_memory


def pretrain(
    work: Path,
    plan: Plan,
    *,
    device: str,
    minutes: float,
    start: Path | None = None,
    finish: bool = False,
    compiled: bool = False,
) -> bool:
    """Run the stages that are not done yet, until done (True) or out of time (False).

    Raises Conflict if what there is in `work` or `start` is not of this recipe.
    """
    deadline = time.monotonic() + 60 * minutes
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    tokenizer = new_tokenizer()
    vae = new_autoencoder().to(device, memory_format=torch.channels_last)
    denoiser = Denoiser(tokenizer).to(device)
    if device == "cpu":
        from diffusers.models.attention_processor import AttnProcessor

        denoiser.unet.set_attn_processor(AttnProcessor())  # SDPA is slow on thousands of short sequences
    captions = cache(partial(make_captions, plan, tokenizer, device))
    there = load_parts(start, vae, denoiser) if start else set()

    def train(stage: Stage, part: str = "", *, finish: bool = False) -> bool:
        if part in there:
            stage.skip(work)
        return stage.train(work, deadline, finish=finish)

    with _rendering(work, plan, device) as is_rendering:

        def scenes(kind: str, count: int) -> Scenes:
            return Scenes(work / kind, count, vae, tokenizer, device, is_rendering)

        of_frames = autoencoder_stage(work, plan, vae, device)
        of_words = words_stage(plan, denoiser.text_encoder, captions, device)
        if not (train(of_frames, "vae") and train(of_words, "text_encoder")):
            return False
        stills = scenes("stills", plan.num_stills)
        done = train(still_stage(plan, denoiser, tokenizer, stills, device), "unet")
        if done:
            reader = CourseReader(denoiser.unet).to(device)
            done = train(course_stage(plan, reader, denoiser.text_encoder, captions, device), "unet")
        if done:
            clips = scenes("clips", plan.num_clips)
            if compiled:
                denoiser.unet.compile(dynamic=False)  # stills and clips differ in shape, so each has its own code
            of_clips = partial(video_stage, plan, denoiser, reader, tokenizer, stills, clips, device)
            done = train(of_clips(sparse=True), "unet") and train(of_clips(), finish=finish)
    if rank() == 0:
        export(work / "pipeline", vae, tokenizer, denoiser)
    return done


def _rendering(work: Path, plan: Plan, device: str) -> AbstractContextManager[Callable[[], bool]]:
    """The processes that render, started by the first: one beside a CPU, one per core but two beside an accelerator."""
    if rank() > 0:
        return nullcontext(lambda: True)
    num = 1 if device == "cpu" else max(1, (os.cpu_count() or 1) - 2)
    return renderers(work, {"stills": plan.num_stills, "clips": plan.num_clips}, num)


def main() -> None:
    """The recipe as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("work", type=Path, help="folder for data, checkpoints, log and result")
    parser.add_argument("--start", type=Path, help="a pipeline folder, or some parts of one")
    parser.add_argument("--plan", choices=PLANS, default=device)
    parser.add_argument("--device", default=device)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop at a checkpoint after so many")
    parser.add_argument("--finish", action="store_true", help="be done with clips after these minutes")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--compile", action="store_true", help="torch.compile the denoiser for clips")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True  # the shapes of a stage never change
    keep_freed_memory()
    join_processes()
    try:
        done = pretrain(
            args.work,
            PLANS[args.plan],
            device=args.device,
            minutes=args.minutes,
            start=args.start,
            finish=args.finish,
            compiled=args.compile,
        )
    except Conflict as conflict:
        parser.exit(conflict.exit_code, f"error: {conflict.message}\nhint: {conflict.hint}\n")
    if rank() == 0:
        print("done" if done else "out of time: run the same command to resume")  # noqa: T201


if __name__ == "__main__":
    main()
