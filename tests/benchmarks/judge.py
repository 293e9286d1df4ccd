"""How well the judge reads renders that went through the autoencoder and a mild blur, against exact ground truth.

    python -m tests.benchmarks.judge

Writes results/judge.md.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cavtool.core.metrics import channels as metrics
from cavtool.core.metrics import stats
from cavtool.mini import train_judge, world
from cavtool.mini.architecture import to_model_range
from cavtool.mini.judge import WEIGHTS, Judge, Reading, load_judge
from cavtool.mini.places import HELD_OUT_PLACES
from cavtool.mini.sprites import COLOURLESS, HELD_OUT_COLOURS, HELD_OUT_SUBJECTS

RESULTS = Path(__file__).parent / "results" / "judge.md"
NUM_SEEN, NUM_HELD_OUT = 240, 160
BLUR = 0.7  # sigma in pixels
BARS = {
    "x": 0.04,
    "y": 0.04,
    "log_scale": 0.1,
    "roll": 15.0,
    "yaw": 15.0,
    "camera_x": 0.04,
    "camera_y": 0.04,
    "camera_zoom": 0.1,
}
CAMERA = ("camera_x", "camera_y", "camera_zoom")


@dataclass(frozen=True)
class Judged:
    scene: world.Scene
    reading: Reading

    def error(self, channel: str) -> NDArray[np.float64]:
        """Absolute error of every frame."""
        truth = self.scene.channels[channel]
        truth = truth - truth[0] if channel in CAMERA else truth
        error = np.abs(self.reading.channels[channel] - truth)
        return np.abs((error + 180) % 360 - 180) if channel in metrics.ANGLES else error

    def right(self, attribute: str) -> bool:
        bare = attribute == "colour" and self.scene.subject == COLOURLESS
        return bool(getattr(self.reading, attribute) == ("" if bare else getattr(self.scene, attribute)))


def read(judge: Judge, autoencoder: Any, scenes: Iterable[world.Scene]) -> list[Judged]:
    judged = []
    for seed, scene in enumerate(scenes):
        decoded = train_judge.reconstruct(autoencoder, world.render(scene), seed, noise=0.0)
        blurred = train_judge.to_bytes(train_judge.blur(to_model_range(decoded), BLUR))
        judged.append(Judged(scene, judge.read(blurred)))
    return judged


def held_out_scenes() -> list[world.Scene]:
    """Every held-out motion in turn, with random held-out subjects, colours and places."""
    rng = np.random.default_rng(0)
    motions = [motion for _, motion in zip(range(NUM_HELD_OUT), cycle(world.HELD_OUT_MOTIONS), strict=False)]
    return [_held_out_scene(motion, rng) for motion in motions]


def _held_out_scene(motion: str, rng: np.random.Generator) -> world.Scene:
    subject, colour, place = (
        str(rng.choice(list(names))) for names in (HELD_OUT_SUBJECTS, HELD_OUT_COLOURS, HELD_OUT_PLACES)
    )
    return world.reference(motion, subject, colour, place, int(rng.integers(64)))


def errors_table(groups: dict[str, list[Judged]]) -> list[str]:
    lines = ["| | bar | " + " | ".join(groups) + " |", "|---|---|" + "---|" * len(groups)]
    for attribute in ("subject", "colour", "place"):
        shares = [np.mean([one.right(attribute) for one in group]) for group in groups.values()]
        lines.append(f"| {attribute} right | >= 95 % | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    for channel, bar in BARS.items():
        cells = [_cell(channel, group) for group in groups.values()]
        lines.append(f"| {channel}: median (90th percentile; median if it moves) | {bar:g} | {' | '.join(cells)} |")
    return lines


def _cell(channel: str, group: list[Judged]) -> str:
    errors = np.concatenate([one.error(channel) for one in group])
    moving = [one.error(channel) for one in group if channel in metrics.active_channels(one.scene.channels)]
    digits = 1 if channel in metrics.ANGLES else 3
    if_moving = f"{np.median(np.concatenate(moving)):.{digits}f}" if moving else "-"
    return f"{np.median(errors):.{digits}f} ({np.quantile(errors, 0.9):.{digits}f}; {if_moving})"


def fidelity_table(moving: Sequence[Judged], still: Sequence[Judged]) -> list[str]:
    lines = [
        "| motion | read by the judge | lowest | the same subjects, still | highest |",
        "|---|---|---|---|---|",
    ]
    for motion in world.HELD_OUT_MOTIONS:
        truth = world.reference(motion, "cat", "red", "desert").channels
        ours = [metrics.fidelity(one.reading.channels, truth) for one in moving if f" {motion} " in one.scene.caption]
        theirs = [metrics.fidelity(one.reading.channels, truth) for one in still]
        lines.append(f"| {motion} | {_mean(ours)} | {min(ours):.3f} | {_mean(theirs)} | {max(theirs):.3f} |")
    return lines


def _mean(values: list[float]) -> str:
    low, high = stats.bootstrap_interval(values)
    return f"{np.mean(values):.3f} ({low:.3f}-{high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, default=WEIGHTS.parent, help="pipeline with the autoencoder")
    parser.add_argument(
        "--weights", type=Path, help="weights of the judge (default: those shipped); nothing is written"
    )
    args = parser.parse_args()
    judge, autoencoder = load_judge(args.weights), train_judge.load_autoencoder(args.pipeline)
    held_out = held_out_scenes()
    seen = read(judge, autoencoder, map(world.sample_scene, range(1, NUM_SEEN + 1)))
    moving = read(judge, autoencoder, held_out)
    still = read(
        judge, autoencoder, [replace(scene, controls={}) for scene in held_out[:: len(world.HELD_OUT_MOTIONS)]]
    )
    lines = [
        "# The judge against ground truth",
        "",
        f"`python -m tests.benchmarks.judge`: renders after an autoencoder round trip and a {BLUR} pixel blur;",
        f"{NUM_SEEN} clips of pretraining, {NUM_HELD_OUT} of held-out subjects and motions. Errors are per frame.",
        "",
        *errors_table({"pretraining": seen, "held out": moving}),
        "",
        f"Fidelity to the true track, mean (95 % interval), of {NUM_HELD_OUT // len(world.HELD_OUT_MOTIONS)} clips",
        f"per motion, and of {len(still)} clips that stand still:",
        "",
        *fidelity_table(moving, still),
    ]
    print(*lines, sep="\n")
    if not args.weights:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
