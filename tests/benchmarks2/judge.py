"""How well the judge reads renders that went through the autoencoder and a mild blur, against exact ground truth.

    python -m tests.benchmarks2.judge [--weights JUDGE] [--pipeline FOLDER]

Writes results/judge.md, unless the weights are not those that ship.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cavtool.core.metrics import channels as metrics
from cavtool.core.metrics import stats
from cavtool.mini2.judge.reading import WEIGHTS, Judge, Reading, load_judge
from cavtool.mini2.training.architecture import to_model_range
from cavtool.mini2.world.motions import HELD_OUT_MOTIONS
from cavtool.mini2.world.places import HELD_OUT_PLACES
from cavtool.mini2.world.sampling import NUM_LAYOUTS, sample_scene
from cavtool.mini2.world.scenes import Frames, Scene, reference, render
from cavtool.mini2.world.subjects import HELD_OUT_COLOURS, HELD_OUT_SUBJECTS

RESULTS = Path(__file__).parent / "results" / "judge.md"
NUM_SEEN, NUM_HELD_OUT = 240, 160
BLUR = 0.7  # standard deviation in pixels
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
    """A scene and what the judge reads of it."""

    scene: Scene
    reading: Reading

    def error(self, channel: str) -> NDArray[np.float64]:
        """Absolute error of every frame; of the camera, relative to the first frame."""
        truth = self.scene.channels[channel]
        truth = truth - truth[0] if channel in CAMERA else truth
        error = np.abs(self.reading.channels[channel] - truth)
        return np.abs((error + 180) % 360 - 180) if channel in metrics.ANGLES else error

    def right(self, attribute: str) -> bool:
        """Whether subject, colour or place is read right."""
        return bool(getattr(self.reading, attribute) == getattr(self.scene, attribute))


@torch.inference_mode()
def reconstruct(autoencoder: Any, frames: Frames) -> Frames:
    """Frames after the autoencoder and a blur."""
    decoded = autoencoder.decode(autoencoder.encode(to_model_range(frames)).latents).sample
    line = torch.exp(-torch.arange(-2.0, 3.0).square() / (2 * BLUR**2))
    kernel = (line[:, None] * line / line.sum() ** 2).expand(3, 1, -1, -1)
    blurred = functional.conv2d(functional.pad(decoded, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)
    return np.asarray(((blurred.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).numpy())


def read(judge: Judge, autoencoder: Any, scenes: Iterable[Scene]) -> list[Judged]:
    """Every scene rendered, damaged and read."""
    return [Judged(scene, judge.read(reconstruct(autoencoder, render(scene)))) for scene in scenes]


def held_out_scenes() -> list[Scene]:
    """Every held-out motion with held-out attributes, in turn."""
    rng = np.random.default_rng(0)
    scenes = []
    for _, motion in zip(range(NUM_HELD_OUT), cycle(HELD_OUT_MOTIONS), strict=False):
        held_out = (HELD_OUT_SUBJECTS, HELD_OUT_COLOURS, HELD_OUT_PLACES)
        subject, colour, place = (str(rng.choice(list(names))) for names in held_out)
        scenes.append(reference(motion, subject, colour, place, int(rng.integers(NUM_LAYOUTS))))
    return scenes


def errors_table(groups: dict[str, list[Judged]]) -> list[str]:
    """Shares and errors of every group as Markdown."""
    lines = ["| | bar | " + " | ".join(groups) + " |", "|---|---|" + "---|" * len(groups)]
    for attribute in ("subject", "colour", "place"):
        shares = [np.mean([one.right(attribute) for one in group]) for group in groups.values()]
        lines.append(f"| {attribute} right | >= 95 % | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    for channel, bar in BARS.items():
        cells = [_cell(channel, group) for group in groups.values()]
        lines.append(f"| {channel}: median (90th percentile; median where it moves) | {bar:g} | {' | '.join(cells)} |")
    return lines


def _cell(channel: str, group: list[Judged]) -> str:
    errors = np.concatenate([one.error(channel) for one in group])
    moving = [one.error(channel) for one in group if channel in metrics.active_channels(one.scene.channels)]
    digits = 1 if channel in metrics.ANGLES else 3
    where = f"{np.median(np.concatenate(moving)):.{digits}f}" if moving else "-"
    return f"{np.median(errors):.{digits}f} ({np.quantile(errors, 0.9):.{digits}f}; {where})"


def fidelity_table(moving: Sequence[Judged], still: Sequence[Judged]) -> list[str]:
    """Fidelity of what is read to the exact track, by motion, as Markdown."""
    lines = ["| motion | as read | lowest | of clips that stand still | highest |", "|---|---|---|---|---|"]
    for motion in HELD_OUT_MOTIONS:
        truth = reference(motion, "cat", "red", "desert").channels
        ours = [metrics.fidelity(one.reading.channels, truth) for one in moving if f" {motion} " in one.scene.caption]
        theirs = [metrics.fidelity(one.reading.channels, truth) for one in still]
        lines.append(f"| {motion} | {_mean(ours)} | {min(ours):.3f} | {_mean(theirs)} | {max(theirs):.3f} |")
    return lines


def _mean(values: list[float]) -> str:
    low, high = stats.bootstrap_interval(values)
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Measure and write."""
    from diffusers import AutoencoderTiny

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, default=WEIGHTS.parent, help="whose autoencoder")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="other weights than those shipped")
    args = parser.parse_args()
    judge, autoencoder = load_judge(args.weights), AutoencoderTiny.from_pretrained(args.pipeline / "vae").float()
    seen = read(judge, autoencoder, map(sample_scene, range(1, NUM_SEEN + 1)))
    scenes = held_out_scenes()
    moving = read(judge, autoencoder, scenes)
    still = read(judge, autoencoder, [replace(scene, controls={}) for scene in scenes[:: len(HELD_OUT_MOTIONS)]])
    lines = [
        "# The judge against ground truth",
        "",
        f"`python -m tests.benchmarks.judge`: renders after an autoencoder round trip and a {BLUR} pixel blur;",
        f"{NUM_SEEN} clips of pretraining subjects and motions, {NUM_HELD_OUT} of held-out ones. Errors are per frame.",
        "",
        *errors_table({"pretraining": seen, "held out": moving}),
        "",
        f"Fidelity to the exact track, mean and 95 % interval, of {NUM_HELD_OUT // len(HELD_OUT_MOTIONS)} clips",
        f"a motion, and of {len(still)} clips that stand still:",
        "",
        *fidelity_table(moving, still),
    ]
    print(*lines, sep="\n")
    if args.weights == WEIGHTS:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
