"""Ways to learn a motion, each for the same time: `python -m tests.benchmarks.knobs [--seconds 90] [WAY...]`.

On the clips of `foreign` to tune on. Each way changes one thing of `USUAL`. Every T-LoRA trains for as many seconds on
one thread, after the same dual absorber of its clip; the judge scores six videos of new subjects and places. Every
(way, clip) is measured once and kept in `results/knobs.jsonl`, with the base's revision; run again, it goes on where it
stopped. Intervals are over clips. Pairs of rows differ only where the interval of the difference excludes 0.

`keep` is ours ("keeping the base whole"): each step also draws one of the base's own clips and a timestep, and adds the
squared difference that the T-LoRA makes to the mean over frames of the prediction. A motion changes how frames differ,
not what is in them.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import ADAPTER, load_absorber
from cavtool.core.backbones.protocol import Backbone, Conditioning
from cavtool.core.colours import recoloured
from cavtool.core.noise import step_generator
from cavtool.mini import world
from cavtool.mini2.training.optimizer import Muon
from cavtool.models import find_model
from cavtool.recipes import LearnRecipe
from cavtool.studio.session import Motion, Session, open_session
from tests.benchmarks import foreign
from tests.benchmarks.absorbers import VARIANTS, train_absorber
from tests.benchmarks.common import make
from tests.benchmarks.foreign_clips import TUNE, Foreign
from tests.benchmarks.tables import RESULTS, with_difference, with_interval, write_table

MOTION = "cav_motion"
LOG = RESULTS / "knobs.jsonl"
WARM_UP = 0.05  # share of the time
NOISE = """The intervals leave out the noise of the training itself, one for each cell. For the triangle, the usual
training had a fidelity of 0.22, 0.39, 0.51 and 0.65 after 120, 200, 280 and 360 steps, and 0.47 after 300; its weights
averaged over about the last 33 steps had 0.11, 0.44 and 0.55 after the first three. So differences below 0.2 are noise.
Started from the gradient, it had 0.06, 0.43 and 0.51 after 120, 200 and 280 steps, no more than the usual training, so
`learn` does not do so.
After 280 steps the averaged weights kept 1.00 of the subjects, the last ones 0.67. These checkpoints were measured with
a script that is not kept.

All ways but "convolutions" and "recoloured" train attention alone, as `learn` did then. The two clips here end where
they began. On "hops", which crosses the frame, the usual training had a fidelity of 0.32 and kept 0.33 of the subjects,
the one with convolutions 0.79 and 0.67 (`--clips hops`).

Keeping the base whole, with convolutions and 240 seconds on a slower machine (`--seconds 240 --clips hops triangle`),
fidelity and kept:

| way | steps on hops | hops | triangle |
|---|---|---|---|
| convolutions | 301 | 0.80, 0.67 | 0.53, 0.83 |
| convolutions, no absorber | 291 | 0.86, 0.33 | 0.96, 0.50 |
| convolutions, keep 0.003 | 112 | 0.77, 1.00 | 0.22, 0.83 |
| convolutions, keep 0.03, no absorber | 120 | 0.00, 0.83 | 0.69, 0.67 |

The base's own clips take more than half of the time, so that within the same time a course is lost as often as a
subject is saved: `learn` does not do so."""
BANK = 16  # clips of the base's own
GOLDEN = 0.6180339887  # its multiples fill [0, 1) evenly


@dataclass(frozen=True)
class Way:
    """How a T-LoRA is trained and applied."""

    noise_from: float = 0.5  # of the timesteps it is trained on
    applied_from: float | None = None  # and applied at, if they differ
    noisier: float = 1.0  # above 1, noisy timesteps are likelier: of uniform u, the share 1 - u ** noisier is drawn
    stratified: bool = False  # timesteps that fill their range evenly, instead of random ones
    paired: bool = False  # each noise with its opposite, as a batch of two
    batch: int = 1
    lr: float = 2e-3
    falls: bool = False  # the rate, linearly to 0
    averaged: bool = False  # weights, over the last fifth
    lora_plus: float = 1.0  # LoRA+ (Hayou et al. 2024): B's rate over A's
    rank: int = 32
    scale: float = 1.0  # rank-stabilised (Kalajdzievski 2023): the root of the rank
    from_gradient: bool = False  # A spans what the gradient of the base's weights does
    muon: bool = False
    debiased: bool = False  # MotionDirector's loss (Zhao et al. 2023)
    layers: str = ""  # only the layers whose names end like this
    convolutions: bool = False  # and the convolutions along time
    dropout: float = 0.0  # share of steps without the absorber
    absorber: str = "dual"
    recolour: int = 0  # versions of the clip with what moves in other colours, 0 for the clip as it is
    keep: float = 0.0
    seed: int = 0


USUAL = Way()
WAYS = {
    "usual": USUAL,
    "usual, seed 1": replace(USUAL, seed=1),
    "usual, seed 2": replace(USUAL, seed=2),
    "all timesteps": replace(USUAL, noise_from=0.0),
    "from 0.7": replace(USUAL, noise_from=0.7),
    "noisier": replace(USUAL, noise_from=0.0, noisier=2.0),
    "stratified": replace(USUAL, stratified=True),
    "paired": replace(USUAL, paired=True),
    "batch 2": replace(USUAL, batch=2),
    "batch 4": replace(USUAL, batch=4),
    "rate 1e-3": replace(USUAL, lr=1e-3),
    "rate 4e-3": replace(USUAL, lr=4e-3),
    "rate falls": replace(USUAL, falls=True),
    "averaged": replace(USUAL, averaged=True),
    "LoRA+": replace(USUAL, lr=5e-4, lora_plus=16.0),
    "rank-stabilised": replace(USUAL, scale=32**0.5, lr=5e-4),
    "rank 4": replace(USUAL, rank=4),
    "from the gradient": replace(USUAL, from_gradient=True),
    "Muon": replace(USUAL, muon=True),
    "debiased": replace(USUAL, debiased=True),
    "K only": replace(USUAL, layers="to_k"),
    "convolutions": replace(USUAL, convolutions=True),
    "recoloured": replace(USUAL, convolutions=True, recolour=16),
    "applied from 0.7": replace(USUAL, applied_from=0.7),
    "absorber dropout": replace(USUAL, dropout=0.2),
    "no absorber": replace(USUAL, absorber="none"),
    "keep 0.003": replace(USUAL, keep=0.003),
    "keep 0.01": replace(USUAL, keep=0.01),
    "keep 0.03": replace(USUAL, keep=0.03),
    "keep 0.03, no absorber": replace(USUAL, keep=0.03, absorber="none"),
    "keep 0.03, no absorber, all timesteps": replace(USUAL, keep=0.03, absorber="none", noise_from=0.0),
    "convolutions, no absorber": replace(USUAL, convolutions=True, absorber="none"),
    "convolutions, keep 0.003": replace(USUAL, convolutions=True, keep=0.003),
    "convolutions, keep 0.03, no absorber": replace(USUAL, convolutions=True, keep=0.03, absorber="none"),
}


@dataclass(frozen=True)
class Prepared:
    """A clip's latents (N, C, F, H, W), its absorber, and its conditioning with the absorber's token and without."""

    latents: Tensor
    absorber: lora.LoraState
    conditioning: Conditioning
    bare: Conditioning


@cache
def training_session() -> Session:
    """The base, to train on."""
    return open_session("cav-mini", training=True)


@cache
def prepared(clip: str, absorber: str, recolour: int) -> Prepared:
    """A clip ready to learn from; its absorber is trained once for all ways."""
    backbone, foreign_clip = training_session().backbone, TUNE[clip]
    frames = foreign.seen_by_the_model(foreign_clip)
    others = recoloured(frames, recolour, seed=0)
    versions = [frames] * max(len(others), 1) + others  # half of the draws take the clip's own colours
    every = np.concatenate(versions)
    state = train_absorber(backbone, every, foreign_clip.appearance, VARIANTS[absorber], LearnRecipe.absorber_steps)
    token = load_absorber(backbone, state)
    conditioning = backbone.encode_text([foreign_clip.prompt], token)
    lora.remove_all(backbone.denoiser)
    latents = torch.cat([backbone.encode_clip(each) for each in versions])
    return Prepared(latents, state, conditioning, backbone.encode_text([foreign_clip.prompt]))


@cache
def bank() -> tuple[Tensor, list[Conditioning]]:
    """Clips of the base's own (N, C, F, H, W) and their conditionings."""
    session, _, _ = foreign.opened()
    looks = [(subject, colour, place) for subject, place, colour in zip(SUBJECTS, PLACES, COLOURS, strict=True)]
    clips = [session.generate(world.caption(*look), 5000 + i) for i, look in enumerate(looks)]
    backbone = training_session().backbone
    latents = torch.cat([backbone.encode_clip(frames) for frames in clips])
    return latents, [backbone.encode_text([world.caption(*look)]) for look in looks]


def _repeated(names: Sequence[str]) -> list[str]:
    return [names[i % len(names)] for i in range(BANK)]


SUBJECTS = _repeated(("cat", "car", "bird", "rocket", "boat"))
COLOURS = _repeated(("red", "green", "blue", "yellow", "purple", "pink", "orange"))
PLACES = _repeated(("forest", "desert", "snow", "city", "ocean", "night"))


class Training:
    """One T-LoRA in training."""

    def __init__(self, clip: str, way: Way) -> None:
        self.backbone: Backbone = training_session().backbone
        self.way, self.clip = way, prepared(clip, way.absorber, way.recolour)
        load_absorber(self.backbone, self.clip.absorber)
        targets = [
            name
            for name in self.backbone.temporal_targets()
            if name.endswith(way.layers) and (way.convolutions or ".attn" in name)
        ]
        self.params = lora.inject(self.backbone.denoiser, MOTION, targets, way.rank, seed=way.seed)
        if way.scale != 1:
            for module in self.backbone.denoiser.modules():
                if MOTION in getattr(module, "scaling", {}):
                    module.scaling[MOTION] = way.scale  # type: ignore[index, operator]
        if way.keep:
            bank()  # before the time counts
        if way.from_gradient:
            self._span_the_gradient()
        A, B = ([p for key, p in self.params.items() if f"lora_{one}" in key] for one in "AB")
        self.optimizers: list[Any] = [
            Muon(params, lr, weight_decay=0.01) if way.muon else torch.optim.AdamW(params, lr, weight_decay=0.01)
            for params, lr in ((A, way.lr), (B, way.lr * way.lora_plus))
        ]
        self.rates = (way.lr, way.lr * way.lora_plus)

    def _span_the_gradient(self) -> None:
        """A's rows: the directions of the layer's input along which the gradient of its weight is largest."""
        denoiser: Any = self.backbone.denoiser
        keys = [key for key in self.params if "lora_A" in key]
        weights = {key: denoiser.get_submodule(_layer(key)).base_layer.weight for key in keys}
        for weight in weights.values():
            weight.requires_grad_(True)
        for step in range(4):
            self.loss(10_000 + step).backward()  # type: ignore[no-untyped-call]
        for key, weight in weights.items():
            directions_RI = torch.linalg.svd(weight.grad, full_matrices=False).Vh[: self.way.rank]
            self.params[key].data[: len(directions_RI)] = directions_RI / 3**0.5  # as long as those drawn at random
            weight.grad = None
            weight.requires_grad_(False)
        for param in self.params.values():
            param.grad = None

    def run(self, seconds: float) -> lora.LoraState:
        """Train for so long; the weights for a file, where the scale is 1."""
        began, step, num_averaged = time.monotonic(), 0, 0
        average = {key: torch.zeros_like(param) for key, param in self.params.items()}
        while (done := (time.monotonic() - began) / seconds) < 1:
            for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate * min(1.0, done / WARM_UP) * (1 - done if self.way.falls else 1.0)
            self.loss(step).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(list(self.params.values()), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            step += 1
            if self.way.averaged and done > 0.8:
                num_averaged += 1
                for key, param in self.params.items():
                    average[key] += (param.detach() - average[key]) / num_averaged
        state = lora.extract(self.params)
        if num_averaged:
            state = {key: average[key].clone() for key in state}
        lora.remove_all(self.backbone.denoiser)
        print(f"{step} steps", end=" ", flush=True)
        return {key: value * self.way.scale if "lora_B" in key else value for key, value in state.items()}

    def loss(self, step: int) -> Tensor:
        """The loss of a step."""
        generator = step_generator(self.way.seed, step)
        without_absorber = bool(torch.rand((), generator=generator) < self.way.dropout)
        if without_absorber:
            with lora.switched_off(self.backbone.denoiser, ADAPTER):
                loss = self._denoising(step, self.clip.bare, generator)
        else:
            loss = self._denoising(step, self.clip.conditioning, generator)
        return loss + self.way.keep * self._change_of_means(generator) if self.way.keep else loss

    def _denoising(self, step: int, conditioning: Conditioning, generator: torch.Generator) -> Tensor:
        count = 2 if self.way.paired else self.way.batch
        picks = torch.randint(len(self.clip.latents), (count,), generator=generator)
        latents = self.clip.latents[picks[:1].expand(count) if self.way.paired else picks]
        timesteps = self._timesteps(step, count, generator)
        noise = torch.randn(latents.shape, generator=generator)
        if self.way.paired:
            noise, timesteps = torch.cat([noise[:1], -noise[:1]]), timesteps[:1].repeat(2)
        predicted = self.backbone.predict(self.backbone.add_noise(latents, noise, timesteps), timesteps, conditioning)
        target = self.backbone.target(latents, noise, timesteps)
        loss = (predicted - target).square().mean()
        if self.way.debiased:
            anchor = int(torch.randint(latents.shape[2], (), generator=generator))
            error = predicted - target
            loss = loss + (2**0.5 * error - error[:, :, anchor : anchor + 1]).square().mean()
        return loss

    def _timesteps(self, step: int, count: int, generator: torch.Generator) -> Tensor:
        low, high = self.backbone.first_timestep(self.way.noise_from), self.backbone.first_timestep(1.0) + 1
        if self.way.stratified:
            quiet = ((step * count + torch.arange(count)) * GOLDEN) % 1
        else:
            quiet = torch.rand(count, generator=generator)
        return (low + (1 - quiet**self.way.noisier) * (high - low)).long().clamp(max=high - 1)

    def _change_of_means(self, generator: torch.Generator) -> Tensor:
        """What the T-LoRA does to the mean over frames of the prediction for a clip of the base's own."""
        latents, conditionings = bank()
        i = int(torch.randint(len(latents), (), generator=generator))
        clip = latents[i : i + 1]
        noise = torch.randn(clip.shape, generator=generator)
        timesteps = self._timesteps(0, 1, generator)
        noisy = self.backbone.add_noise(clip, noise, timesteps)
        with lora.switched_off(self.backbone.denoiser, ADAPTER):
            changed = self.backbone.predict(noisy, timesteps, conditionings[i])
        with torch.no_grad(), lora.switched_off(self.backbone.denoiser, ADAPTER, MOTION):
            usual = self.backbone.predict(noisy, timesteps, conditionings[i])
        return (changed - usual).mean(2).square().mean()


def _layer(key: str) -> str:
    return key.removeprefix("unet.").removesuffix(".lora_A.weight")


def measure(clip: str, way: Way, seconds: float) -> tuple[foreign.Score, list[tuple[str, video.Frames]]]:
    """Learn one clip one way: its scores, and what to look at."""
    session, judge, base = foreign.opened()
    noise_from = way.noise_from if way.applied_from is None else way.applied_from
    motion = Motion(Training(clip, way).run(seconds), noise_from=noise_from)
    clips = make(session, judge, foreign.PROMPTS, foreign.SEEDS, [motion])
    truth: Foreign = TUNE[clip]
    score = foreign.score(clips, base, truth.channels(world.NUM_FRAMES, world.FPS))
    return score, foreign.shown(clip, truth, clips)


def key(name: str, clip: str, seconds: float) -> dict[str, Any]:
    """What a result depends on."""
    return {"clip": clip, "seconds": seconds, "revision": find_model("cav-mini").revision, **asdict(WAYS[name])}


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", default=list(WAYS), help=", ".join(WAYS))
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--clips", nargs="+", default=list(TUNE))
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    args = parser.parse_args()
    torch.set_num_threads(1)
    done = [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []
    scores: dict[str, list[foreign.Score]] = {}
    for name in dict.fromkeys(["usual", *args.ways]):
        sheet: list[tuple[str, video.Frames]] = []
        for clip in args.clips:
            wanted = key(name, clip, args.seconds)
            row = next((row for row in done if wanted.items() <= row.items()), None)
            if row is None:
                score, seen = measure(clip, WAYS[name], args.seconds)
                row, sheet = {**wanted, "score": asdict(score)}, [*sheet, *seen]
                with LOG.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            scores.setdefault(name, []).append(foreign.Score(**row["score"]))
            print(name, clip, row["score"], flush=True)
        if sheet and args.sheets:
            video.contact_sheet(sheet, args.sheets / f"knobs-{name.replace(' ', '-')}.png", scale=1)
    title = f"Ways to learn a motion in {args.seconds:g} seconds"
    write_table("knobs", title, *table(scores, args.clips), NOISE)


def table(scores: Mapping[str, Sequence[foreign.Score]], clips: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows."""
    columns = ["way", *foreign.TITLES, "fidelity less usual", "kept less usual", f"fidelity of {', '.join(clips)}"]

    def of(mine: Sequence[foreign.Score], field: str) -> list[float]:
        return [getattr(one, field) for one in mine]

    rows = []
    for name, mine in scores.items():
        means = [with_interval(of(mine, field)) for field in foreign.Score.__dataclass_fields__]
        gains = [with_difference(of(mine, field), of(scores["usual"], field)) for field in ("fidelity", "kept")]
        rows.append([name, *means, *gains, " ".join(f"{one.fidelity:.2f}" for one in mine)])
    return columns, rows


if __name__ == "__main__":
    main()
