"""A training step of clips, computed in several ways: `python -m tests.benchmarks2.step [--plan cuda] [--steps 10]`.

Forward, backward and optimizer on scenes of noise. A way that fails says why, and the others go on. `python -m
cavtool.mini2.training` takes the first on a GPU, the second on a CPU, and `compiled` with `--compile`.
"""

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import torch

from cavtool.mini2.training.architecture import LATENT_CHANNELS, LATENT_SIDE, MAX_TOKENS, Denoiser, new_tokenizer
from cavtool.mini2.training.courses import CourseReader
from cavtool.mini2.training.data import Scenes
from cavtool.mini2.training.denoiser import video_stage
from cavtool.mini2.training.optimizer import Optimizer
from cavtool.mini2.training.plans import PLANS, Plan
from cavtool.mini2.training.rendering import CONTROLS, KINDS
from tests.benchmarks.tables import write_table
from tests.benchmarks2.common import RESULTS


def scenes_of_noise(kind: str, device: str, count: int = 256) -> Scenes:
    """What looks like rendered scenes to a stage."""
    num_frames = KINDS[kind].num_frames
    latents = torch.randn(count, LATENT_CHANNELS, num_frames, LATENT_SIDE, LATENT_SIDE, device=device)
    made = SimpleNamespace(
        look=lambda: None,
        ready=count,
        latents=latents.half(),
        tokens=torch.randint(2, 50, (count, MAX_TOKENS), device=device).short(),
        discs=torch.rand(count, num_frames, 3, device=device),
        moves=torch.randn(count, num_frames, len(CONTROLS), device=device),
    )
    return cast(Scenes, made)


def as_it_is(_unet: Any) -> None:
    """Eager, with diffusers' default attention."""


def plain_attention(unet: Any) -> None:
    """Attention as matrix products."""
    from diffusers.models.attention_processor import AttnProcessor

    unet.set_attn_processor(AttnProcessor())


def channels_last(unet: Any) -> None:
    """Convolutions with channels last in memory."""
    unet.to(memory_format=torch.channels_last)


def compiled(unet: Any) -> None:
    """torch.compile."""
    unet.compile(dynamic=False)


def compiled_channels_last(unet: Any) -> None:
    """Both."""
    channels_last(unet)
    compiled(unet)


WAYS: tuple[Callable[[Any], None], ...] = (as_it_is, plain_attention, channels_last, compiled, compiled_channels_last)


def seconds_per_step(way: Callable[[Any], None], plan: Plan, device: str, num_steps: int) -> tuple[float, float]:
    """The seconds until the second step is done, which compile, and those of each further step."""
    torch.manual_seed(0)
    tokenizer = new_tokenizer()
    denoiser = Denoiser(tokenizer).to(device)
    way(denoiser.unet)
    reader = CourseReader(denoiser.unet).to(device)
    stills, clips = (scenes_of_noise(kind, device) for kind in KINDS)
    stage = video_stage(plan, denoiser, reader, tokenizer, stills, clips, device)
    params = [param for param in stage.model.parameters() if param.requires_grad]
    optimizer = Optimizer(stage.model, stage.lr, muon=True)

    def step(number: int) -> None:
        stage.loss_at(number).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step(1.0)

    def run(numbers: range) -> float:
        began = time.monotonic()
        for number in numbers:
            step(number)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.monotonic() - began

    return run(range(2)), run(range(2, 2 + num_steps)) / num_steps


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--plan", choices=PLANS, default=device)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("ways", nargs="*", help="the names of some of the ways")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True  # as in the recipe
    plan, rows = PLANS[args.plan], []
    for way in WAYS:
        name = way.__name__.replace("_", " ")
        if args.ways and name not in args.ways:
            continue
        try:
            first, each = seconds_per_step(way, plan, device, args.steps)
        except Exception as error:  # noqa: BLE001 the ways after this one are measured too
            row = (name, "-", "-", f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
        else:
            row = (name, f"{first:.1f}", f"{1000 * each:.0f}", f"{plan.clips_per_step / each:.1f}")
        rows.append(row)
        print(row, flush=True)
    title = f"A training step of {plan.clips_per_step} clips and {plan.stills_among_clips} stills, on {_named(device)}"
    columns = ("computed", "first two steps, s", "each further step, ms", "clips a second")
    write_table(f"step-{device}", title, columns, rows, folder=RESULTS)


def _named(device: str) -> str:
    threads = torch.get_num_threads()
    return torch.cuda.get_device_name() if device == "cuda" else f"CPU, {threads} thread{'s'[: threads > 1]}"


if __name__ == "__main__":
    main()
