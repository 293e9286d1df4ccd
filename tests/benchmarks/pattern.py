"""Which measure of motion agrees with the judge on generated videos: tracks or the pattern of movement?

    python -m tests.benchmarks.pattern [MOTION...]

First renders of the toy world, whose motions are known, as in `fidelity`. Then checkpoints of the tune motions in
training, tried out as in `cav learn`: what each measure says of the videos of a checkpoint against what the judge reads
in them, and against the ground truth of the motion. Writes results/pattern.md.
"""

import sys
from collections.abc import Iterator

import numpy as np

from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import load_absorber, motion_loss
from cavtool.core.metrics import channels
from cavtool.core.metrics.pattern import pattern_fidelity, read_pattern
from cavtool.core.metrics.tracks import fidelity, read_motion
from cavtool.core.trainer import Trainer
from cavtool.mini import world
from cavtool.mini.judge import Judge, load_judge
from cavtool.recipes import LearnRecipe
from cavtool.studio.learn.choose import EVERY, SAMPLING_STEPS
from cavtool.studio.session import Motion, Session, open_session
from tests.benchmarks.absorbers import VARIANTS, train_absorber
from tests.benchmarks.common import TUNE_PROMPTS, reference_of
from tests.benchmarks.fidelity import MOTIONS, auc, clips, pairs
from tests.benchmarks.tables import write_table

MEASURED = ("zigzag", "swing", "spiral", "push")
STEPS = 250
USUAL = LearnRecipe()


def checkpoints(session: Session, scene: world.Scene) -> Iterator[Motion]:
    """The motion of a scene after 0, 50, 100, … steps of training."""
    backbone, frames, noise_from = session.backbone, world.render(scene), session.model.native.noise_from
    look = world.caption(scene.subject, scene.colour, scene.place)
    token = load_absorber(backbone, train_absorber(backbone, frames, look, VARIANTS["dual"], USUAL.absorber_steps))
    latents = backbone.encode_clip(frames)
    loss_at = motion_loss(
        backbone,
        latents,
        scene.caption,
        token,
        batch_size=USUAL.batch_size,
        seed=USUAL.seed,
        first_step=USUAL.absorber_steps,
        noise_from=noise_from,
    )
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), USUAL.rank, seed=USUAL.seed)
    trainer = Trainer(params, loss_at, STEPS, USUAL.lr)
    yield Motion(lora.extract(params), noise_from=noise_from)
    for _ in trainer.run():
        if trainer.step % EVERY == 0:
            yield Motion(lora.extract(params), noise_from=noise_from)
    lora.remove_all(backbone.denoiser)


def tried_out(training: Session, session: Session, judge: Judge, motion: str) -> list[tuple[float, float, float]]:
    """For each checkpoint, means over videos: the judge's fidelity, that of tracks, that of the pattern."""
    scene = reference_of(motion)
    frames, truth = world.render(scene), scene.channels
    tracks, pattern, rows = read_motion(frames), read_pattern(frames), []
    for step, learned in enumerate(checkpoints(training, scene)):
        seen = []
        for seed, look in enumerate(TUNE_PROMPTS, 1):
            video = session.generate(world.caption(*look), seed, [learned], steps=SAMPLING_STEPS)
            judged = channels.fidelity(judge.read(video).channels, truth)
            followed = fidelity(read_motion(video), tracks)
            seen.append((judged, followed, pattern_fidelity(read_pattern(video), pattern)))
        judged, followed, agrees = (float(value) for value in np.mean(seen, axis=0))
        rows.append((judged, followed, agrees))
        print(motion, EVERY * step, *(f"{value:.2f}" for value in rows[-1]), flush=True)
    return rows


def on_renders() -> tuple[float, float]:
    """The area under the ROC curve of tracks and of the pattern: the same motion on another look against another."""
    shown, both = clips(), pairs(MOTIONS)
    tracks = {key: read_motion(frames) for key, frames in shown.items()}
    patterns = {key: read_pattern(frames) for key, frames in shown.items()}
    followed = auc({(a, b): fidelity(tracks[a], tracks[b]) for a, b in both}, MOTIONS)
    return followed, auc({(a, b): pattern_fidelity(patterns[a], patterns[b]) for a, b in both}, MOTIONS)


def main() -> None:
    training, session, judge = open_session("cav-mini", training=True), open_session("cav-mini"), load_judge()
    areas = on_renders()
    found = {motion: np.array(tried_out(training, session, judge, motion)) for motion in sys.argv[1:] or MEASURED}
    rows = []
    for motion, values in found.items():
        curves = [" ".join(f"{value:.2f}" for value in curve) for curve in values.T]
        agrees = [f"{np.corrcoef(values[:, 0], values[:, i])[0, 1]:.2f}" for i in (1, 2)]
        rows.append((motion, *curves, *agrees))
    columns = ("motion", "judge", "tracks", "pattern", "r of tracks with the judge", "r of the pattern")
    notes = (
        f"Checkpoints after 0, {EVERY}, … {STEPS} steps, {len(TUNE_PROMPTS)} videos of {SAMPLING_STEPS} sampling steps "
        f"each. On renders of {len(MOTIONS)} motions the AUC of the same motion on another look against another motion "
        f"is {areas[0]:.3f} by tracks and {areas[1]:.3f} by the pattern (`tests.benchmarks.fidelity`)."
    )
    write_table("pattern", "Measures of motion on generated videos", columns, rows, notes)


if __name__ == "__main__":
    main()
