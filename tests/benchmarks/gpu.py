"""Memory and speed of learning and generating on a GPU: `python -m tests.benchmarks.gpu`.

Five minutes at most. The weights are random, of the published sizes, and made on the spot; a card of a smaller size is
imitated with `set_per_process_memory_fraction`, at its size less 1 GB. Without a GPU, the same rows are measured with
reduced widths on the CPU: the ratios are figures for this machine, and the bars for GPUs stay open.
"""

import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import TextToVideoSDPipeline
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import motion_loss
from cavtool.core.backbones.memory import apply
from cavtool.core.noise import step_generator
from cavtool.errors import CavError
from cavtool.events import Event, Note
from cavtool.mini import world
from cavtool.recipes import NO_SAVING, LearnRecipe, MemoryOptions
from cavtool.studio.learn import learn, train
from cavtool.studio.session import Motion, Session, open_session
from cavtool.workspace import Workspace
from tests.benchmarks.gpu_models import MODELSCOPE, MODELSCOPE_384, WAN, ZEROSCOPE, Size, describe, make
from tests.benchmarks.memory import Peak
from tests.benchmarks.tables import RESULTS, write_table

HAS_GPU = torch.cuda.is_available()
DEVICE = "cuda" if HAS_GPU else "cpu"
OPEN = "open: needs a GPU"
REPEATS = 5
train.PREVIEW_STEPS = 2


@dataclass(frozen=True)
class Row:
    """What was measured, the bar it has to meet, and whether it does."""

    what: str
    bar: str
    found: str
    met: str


@contextmanager
def card_of(gigabytes: int) -> Iterator[None]:
    """Within the context, this process can use as much of the GPU as a card of this size has, less 1 GB."""
    if not HAS_GPU:
        yield
        return
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_per_process_memory_fraction((gigabytes - 1) * 1e9 / torch.cuda.mem_get_info()[1])
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def learned(what: str, folder: Path, size: Size, gigabytes: int, bar: str) -> Row:
    """Learn a motion with the defaults, few steps in each stage, on a card of this size."""
    describe(folder, size.full if HAS_GPU else size.reduced)
    notes: list[str] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Note) and "memory" in event.text:
            notes.append(event.text)

    with TemporaryDirectory() as home, card_of(gigabytes):
        clip = Path(home, "clip.mp4")
        video.encode(world.render(world.reference("circle", "lantern", "white", "moon")), clip, fps=world.FPS, scale=4)
        recipe = LearnRecipe("a lantern circles", steps=2, absorber_steps=2, model=str(folder))
        try:
            learn("circle", clip, recipe, workspace=Workspace(Path(home)), on_event=on_event)
        except CavError as error:
            return Row(what, bar, f"{error.message}; {error.hint}", "no")
    if not HAS_GPU:
        return Row(what, bar, "finishes with reduced widths", OPEN)
    peak = torch.cuda.max_memory_reserved() / 1e9
    return Row(what, bar, f"{peak:.1f} GB{'; '.join(['', *notes])}", "yes" if peak <= gigabytes - 1 else "no")


def plain_step(session: Session, latents: Tensor, text: Tensor, params: dict[str, nn.Parameter]) -> Callable[[], None]:
    """A training step as a plain loop of diffusers and peft does it: SDPA, autocast, no checkpointing."""
    backbone: Any = session.backbone
    optimizer = torch.optim.AdamW(params.values(), 1e-4)
    counter = iter(range(10**6))

    def step() -> None:
        generator = step_generator(0, next(counter))
        noise = torch.randn(latents.shape, generator=generator).to(DEVICE)
        timesteps = backbone.draw_timesteps(generator, len(latents))
        noisy = backbone.add_noise(latents, noise, timesteps)
        with torch.autocast(DEVICE, backbone.dtype, enabled=backbone.dtype != torch.float32):
            predicted = backbone.denoiser(noisy, timesteps, text.expand(len(latents), -1, -1), return_dict=False)[0]
        (predicted.float() - noise).square().mean().backward()
        nn.utils.clip_grad_norm_(params.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(session: Session, latents: Tensor, params: dict[str, nn.Parameter]) -> Callable[[], object]:
    """A training step of `cav learn`."""
    loss_at = motion_loss(session.backbone, latents, "a lantern circles", None, batch_size=len(latents), seed=0)
    steps = train.new_trainer(session, params, loss_at, len(latents), 10**6, 1e-4).run()
    return lambda: next(steps)


def seconds(*actions: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """The least time of each action; they take turns, so that a busy machine disturbs all alike."""
    found: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats + 1):
        for action, times in zip(actions, found, strict=True):
            began = time.perf_counter()
            action()
            _synchronize()
            times.append(time.perf_counter() - began)
    return [min(times[1:]) for times in found]


def _synchronize() -> None:
    if HAS_GPU:
        torch.cuda.synchronize()


def peak_of(denoiser: nn.Module, action: Callable[[], object]) -> int:
    """The most bytes of tensors, other than weights, that were alive at once during an action."""
    with Peak(denoiser) as peak:
        action()
    return int(peak.peak)


def compared_with_a_plain_loop(folder: Path) -> list[Row]:
    """Time and memory of a training step, without memory options and with those for small cards, and its throughput."""
    describe(folder, MODELSCOPE.full if HAS_GPU else MODELSCOPE.reduced)
    session = open_session(str(folder), training=True, memory=NO_SAVING)
    clip = session.model.clip
    backbone: Any = session.backbone
    shape = backbone.latent_shape(clip.num_frames, clip.height, clip.width)
    latents = torch.randn((2, *shape[1:]), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    text = backbone.encode_text(["a lantern circles"])
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 32, seed=0)
    usual = backbone.denoiser.attn_processors
    bare, ours = plain_step(session, latents, text, params), our_step(session, latents, params)

    def plain() -> None:
        backbone.denoiser.set_attn_processor(AttnProcessor2_0())
        bare()
        backbone.denoiser.set_attn_processor(dict(usual))

    plain_time, our_time = seconds(plain, ours)
    plain_peak, our_peak = (peak_of(backbone.denoiser, action) for action in (plain, ours))
    with FlopCounterMode(display=False) as counter:
        ours()
    saving = MemoryOptions(1, gradient_checkpointing=True, offload=False)
    apply(backbone, saving)
    saved_time, saved_peak = seconds(ours)[0], peak_of(backbone.denoiser, ours)
    lora.remove_all(backbone.denoiser)
    what, bar = (
        "training step against a plain loop",
        ">= 1.15x faster at equal memory, or equal speed at <= 0.6x memory",
    )
    rates = counter.get_total_flops() / our_time, matmul_rate()
    return [
        Row(
            what,
            bar,
            f"{plain_time / our_time:.2f}x as fast at {our_peak / plain_peak:.2f}x memory",
            _judged(plain_time / our_time >= 1.15),
        ),
        Row(
            f"{what}, ours with checkpointing",
            "",
            f"{plain_time / saved_time:.2f}x as fast at {saved_peak / plain_peak:.2f}x memory",
            "",
        ),
        Row(
            "throughput of a training step against that of a matmul",
            "report",
            f"{rates[0] / 1e12:.3g} of {rates[1] / 1e12:.3g} TFLOP/s",
            "",
        ),
    ]


def _judged(met: bool) -> str:
    return ("yes" if met else "no") if HAS_GPU else OPEN


def matmul_rate() -> float:
    """FLOP/s of one large matrix multiplication in the precision of a training."""
    side = 8192 if HAS_GPU else 1024
    a = torch.randn(side, side, device=DEVICE, dtype=torch.bfloat16 if HAS_GPU else torch.float32)
    return 2 * side**3 / seconds(lambda: a @ a)[0]


def generated(folder: Path) -> Row:
    """The time of a video with two motions against that of diffusers' own pipeline without any."""
    describe(folder, MODELSCOPE.full if HAS_GPU else MODELSCOPE.reduced)
    session, steps = open_session(str(folder), device=DEVICE), 25
    names, clip = session.backbone.temporal_targets(), session.model.clip
    params = lora.inject(session.backbone.denoiser, "cav_motion", names, 32, seed=0)
    state = {key: value + 0.01 for key, value in lora.extract(params).items()}
    lora.remove_all(session.backbone.denoiser)
    stored = torch.bfloat16 if HAS_GPU else torch.float32
    pipeline = TextToVideoSDPipeline.from_pretrained(folder, torch_dtype=stored).to(DEVICE)
    pipeline.set_progress_bar_config(disable=True)
    size = {"num_frames": clip.num_frames, "height": clip.height, "width": clip.width}

    def theirs() -> None:
        pipeline("a red cat", num_inference_steps=steps, guidance_scale=9.0, **size)

    def ours() -> None:
        session.generate("a red cat", 0, [Motion(state), Motion(state, 0.5)], steps=steps, guidance=9.0)

    bare, with_motions = seconds(theirs, ours, repeats=2)
    ratio = with_motions / bare
    return Row(
        f"generate, {steps} steps, two motions, against the bare pipeline",
        "<= 1.03x",
        f"{ratio:.2f}x",
        _judged(ratio <= 1.03),
    )


def main() -> None:
    """Measure all rows, and write them as JSON and as a table."""
    began = time.monotonic()
    with TemporaryDirectory() as name:
        unet, wan = (make(family, Path(name, family), full=HAS_GPU) for family in ("unet3d", "wan"))
        rows = [
            learned("learn, ModelScope, 16x256x256", unet, MODELSCOPE, 8, "finishes on 8 GB"),
            learned("learn, ModelScope, 16x384x384", unet, MODELSCOPE_384, 10, "<= 10 GB"),
            learned("learn, ZeroScope, 24x576x320", unet, ZEROSCOPE, 16, "finishes on 16 GB"),
            learned("learn, Wan 1.3B, 33x480x272", wan, WAN, 16, "finishes on 16 GB"),
            *compared_with_a_plain_loop(unet),
            generated(unet),
        ]
    device = torch.cuda.get_device_name() if HAS_GPU else "CPU, reduced widths and clips"
    found = {"device": device, "seconds": round(time.monotonic() - began), "rows": [asdict(row) for row in rows]}
    (RESULTS / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    table = [(row.what, row.bar, row.found, row.met) for row in rows]
    write_table("gpu", f"Memory and speed on: {device}", ("measured", "bar", "found", "met"), table)


if __name__ == "__main__":
    main()
