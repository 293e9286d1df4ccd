"""What appearance absorbers are good for: `python -m tests.benchmarks.absorbers [VARIANT...]`, on the tune motions.

Long training at all timesteps, where leakage shows most. Rows: the base with the same prompts, T-LoRAs without an
absorber, with each kind, with parts trained one after the other, with whole frames in place of crops, and with
absorber dropout. Every (variant, motion) is trained once and kept in `absorbers.jsonl` with its settings and the
base's revision; run again, it goes on where it stopped. Intervals are over prompts and seeds. `--picture` makes a
video with each motion of this table, which it learns again where the user's cache has none.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from safetensors.torch import load_file, save_file
from torch import Tensor

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import (
    CROP_RATIO,
    TOKEN,
    absorber_loss,
    crop_bank,
    load_absorber,
    motion_loss,
    new_absorber,
)
from cavtool.core.adapters.lora import LoraState
from cavtool.core.backbones.protocol import Backbone, FramesFHWC
from cavtool.core.trainer import Trainer
from cavtool.mini import world
from cavtool.mini.judge import Judge, load_judge
from cavtool.models import find_model
from cavtool.recipes import LearnRecipe
from cavtool.studio.session import Motion, Session, open_session
from tests.benchmarks.common import (
    SCORES,
    TITLES,
    TUNE_PROMPTS,
    TUNE_REFERENCES,
    Score,
    by_clip,
    limits_of_stillness,
    make,
    reference_of,
    score,
)
from tests.benchmarks.tables import RESULTS, with_difference, with_interval, write_table

LORA = "lora"
USUAL = LearnRecipe()


@dataclass(frozen=True)
class Variant:
    """The absorber's parts, in groups trained one after the other; its crops; the share of stage-2 steps without it."""

    groups: tuple[tuple[str, ...], ...] = ()
    ratios: tuple[float, float] = CROP_RATIO
    dropout: float = 0.0


TOGETHER = ((LORA, TOKEN),)
WHOLE = (1.0, 1.0)  # frames instead of crops
VARIANTS = {
    "none": Variant(),
    "s-lora": Variant(((LORA,),)),
    "token": Variant(((TOKEN,),)),
    "dual": Variant(TOGETHER),
    "dual, token first": Variant(((TOKEN,), (LORA,))),
    "dual, S-LoRA first": Variant(((LORA,), (TOKEN,))),
    "s-lora, whole frames": Variant(((LORA,),), WHOLE),
    "dual, whole frames": Variant(TOGETHER, WHOLE),
    "s-lora, dropout 0.2": Variant(((LORA,),), dropout=0.2),
    "dual, dropout 0.2": Variant(TOGETHER, dropout=0.2),
}
BASE = "base"  # the same prompts without a motion


@dataclass(frozen=True)
class Settings:
    """The size of the benchmark; part of the key of each result."""

    steps: int
    absorber_steps: int
    batch_size: int
    seeds: tuple[int, ...]


def train(session: Session, scene: world.Scene, variant: Variant, settings: Settings) -> Motion:
    """The scene's motion, learned at all timesteps with the absorber of this variant."""
    backbone, frames = session.backbone, world.render(scene)
    look = world.caption(scene.subject, scene.colour, scene.place)
    absorber = train_absorber(backbone, frames, look, variant, settings.absorber_steps)
    token = load_absorber(backbone, absorber)
    latents = backbone.encode_clip(frames)
    loss_at = motion_loss(
        backbone,
        latents,
        scene.caption,
        token,
        batch_size=settings.batch_size,
        seed=USUAL.seed,
        first_step=settings.absorber_steps,
        dropout=variant.dropout,
    )
    targets = backbone.temporal_targets()
    params = lora.inject(backbone.denoiser, "cav_motion", targets, USUAL.rank, seed=USUAL.seed)
    exhaust(Trainer(params, loss_at, settings.steps, USUAL.lr))
    state = lora.extract(params)
    lora.remove_all(backbone.denoiser)
    return Motion(state)


def train_absorber(backbone: Backbone, frames: FramesFHWC, look: str, variant: Variant, num_steps: int) -> LoraState:
    """Stage 1, with `num_steps` for each group of parts; {} for a variant without an absorber."""
    parts = {part for group in variant.groups for part in group}
    if not parts:
        return {}
    crops = backbone.encode_stills(crop_bank(frames, 64, USUAL.seed, ratios=variant.ratios))
    params = new_absorber(
        backbone, look, with_lora=LORA in parts, with_token=TOKEN in parts, rank=USUAL.rank, seed=USUAL.seed
    )
    batch = 8 * USUAL.batch_size
    loss_at = absorber_loss(backbone, params, crops, look, batch_size=batch, seed=USUAL.seed)
    for group in variant.groups:
        for key, param in params.items():
            param.requires_grad_((TOKEN if key == TOKEN else LORA) in group)
        trained = {key: param for key, param in params.items() if param.requires_grad}
        exhaust(Trainer(trained, loss_at, num_steps, USUAL.absorber_lr))
    state: dict[str, Tensor] = lora.extract(params)
    lora.remove_all(backbone.denoiser)
    return state


def exhaust(trainer: Trainer) -> None:
    """Train to the end."""
    for _ in trainer.run():
        pass


@cache
def opened() -> tuple[Session, Session, Judge, dict[str, float]]:
    """The base to train on and to sample from, the judge, and what counts as still."""
    session, judge = open_session("cav-mini"), load_judge()
    return open_session("cav-mini", training=True), session, judge, limits_of_stillness(session, judge, TUNE_PROMPTS)


def key(variant: str, motion: str, settings: Settings) -> dict[str, Any]:
    """What a result depends on, in the form that JSON gives back."""
    described = {} if variant == BASE else asdict(VARIANTS[variant])
    revision = find_model("cav-mini").revision
    values = {"motion": motion, "revision": revision, "variant": described, "settings": asdict(settings)}
    result: dict[str, Any] = json.loads(json.dumps(values))
    return result


def measure(variant: str, motion: str, settings: Settings) -> dict[str, Any]:
    """Train one motion one way; the scores of its clips."""
    scene = reference_of(motion)
    _, session, judge, limits = opened()
    motions = motions_of(variant, motion, settings)
    clips = make(session, judge, TUNE_PROMPTS, settings.seeds, motions)
    scores = [asdict(score(clip, scene, limits)) for clip in clips]
    return {**key(variant, motion, settings), "scores": scores}


def motions_of(variant: str, motion: str, settings: Settings) -> list[Motion]:
    """The motion learned this way, from the user's cache if it is there; none for the base."""
    if variant == BASE:
        return []
    name = sha256(json.dumps(key(variant, motion, settings), sort_keys=True).encode()).hexdigest()[:16]
    file = user_cache_path("cav-benchmarks") / "absorbers" / f"{name}.safetensors"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        learned = train(opened()[0], reference_of(motion), VARIANTS[variant], settings)
        save_file(learned.state, file)
    return [Motion(load_file(file))]


def picture(variants: Sequence[str], motions: Sequence[str], settings: Settings, file: Path) -> None:
    """A video of the first prompt and seed, with each motion learned each way."""
    _, session, judge, _ = opened()
    rows = []
    for motion in motions:
        rows.append((f"{motion}\nreference", world.render(reference_of(motion))))
        for variant in variants:
            clips = make(session, judge, TUNE_PROMPTS[:1], settings.seeds[:1], motions_of(variant, motion, settings))
            rows += [(f"{clip.asked.prompt}\n{variant}", clip.frames) for clip in clips]
    video.contact_sheet(rows, file, scale=1)


def measured(variants: Sequence[str], motions: Sequence[str], settings: Settings, log: Path) -> dict[str, Any]:
    """The result of each variant and motion, from the log if it is there."""
    lines = log.read_text().splitlines() if log.exists() else []
    done = [json.loads(line) for line in lines if line.endswith("}")]
    rows = {}
    for variant in variants:
        for motion in motions:
            wanted = key(variant, motion, settings).items()
            row = next((row for row in done if wanted <= row.items()), None)
            if row is None:
                row = measure(variant, motion, settings)
                with log.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            rows[variant, motion] = row
            print(variant, motion, [round(s["fidelity"], 2) for s in row["scores"]], flush=True)
    return {variant: [[Score(**s) for s in rows[variant, m]["scores"]] for m in motions] for variant in variants}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("variants", nargs="*", help=", ".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--absorber-steps", type=int, default=USUAL.absorber_steps)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--motions", nargs="+", default=list(TUNE_REFERENCES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[201, 202])
    parser.add_argument("--folder", type=Path, default=RESULTS)
    parser.add_argument("--picture", action="store_true")
    asked = parser.parse_args()
    settings = Settings(asked.steps, asked.absorber_steps, asked.batch_size, tuple(asked.seeds))
    asked.folder.mkdir(exist_ok=True)
    variants = dict.fromkeys([BASE, "none", *(asked.variants or VARIANTS)])
    results = measured(list(variants), asked.motions, settings, asked.folder / "absorbers.jsonl")
    rows = []
    for variant, scores in results.items():
        means = [with_interval(by_clip(scores, name)) for name in SCORES]
        differ = [
            with_difference(by_clip(scores, name), by_clip(results["none"], name)) for name in ("fidelity", "leaked")
        ]
        rows.append((variant, *means, *differ))
    columns = ("absorber", *TITLES, "fidelity less none's", "leakage less none's")
    notes = f"{settings.steps} steps of {settings.batch_size} at all timesteps on {', '.join(asked.motions)}."
    write_table("absorbers", "Appearance absorbers", columns, rows, notes, asked.folder)
    if asked.picture:
        picture(list(variants), asked.motions, settings, asked.folder / "absorbers.png")


if __name__ == "__main__":
    main()
