"""How the judge's weights are made: `python -m cavtool.mini.train_judge WORK`, after pretraining.

1. data   scenes of every look, held-out ones too, each in four frames that have nothing to do with each other; every
          other scene goes through the autoencoder of the pipeline (`--pipeline`)
2. nets   the judge's nets together, on single frames, mirrored, blurred, noised and recoloured: `WORK/log.jsonl`
3. export the averaged weights in fp16 as `cavtool/mini/weights/judge.safetensors`

Resumes where it stopped, `--minutes M` stops it. Delete `WORK` to start over.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from cavtool.mini import world
from cavtool.mini.architecture import to_model_range
from cavtool.mini.judge import PLACE_NAMES, WEIGHTS, JudgeNet
from cavtool.mini.matching import cut_out
from cavtool.mini.sprites import COLOUR_NAMES, COLOURLESS, SUBJECT_NAMES
from cavtool.mini.stage import Stage
from cavtool.mini2.training.stage import autocast

SEED = 30_000_000  # the first scene's; far from those of pretraining, tests and benchmarks
NUM_SCENES, FRAMES_PER_SCENE, NUM_LAYOUTS = 14_000, 4, 48
NUM_STEPS, FRAMES_PER_STEP, LEARNING_RATE = 2_200, 192, 4e-3
_CHUNK = 32  # scenes rendered before they are written


# Data


def draw_scene(seed: int) -> world.Scene:
    """A scene of any look whose frames have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    subject, colour, place = (str(rng.choice(names)) for names in (SUBJECT_NAMES, COLOUR_NAMES, PLACE_NAMES))
    courses = _draw_pose(rng) | _draw_camera(rng)
    return world.Scene(subject, colour, place, int(rng.integers(NUM_LAYOUTS)), courses)


def _draw_pose(rng: np.random.Generator) -> world.Tracks:
    frames = FRAMES_PER_SCENE
    kind = rng.choice(["upright", "rolled", "turned", "both"], p=[0.35, 0.25, 0.3, 0.1])
    lean, reach = 8 * rng.integers(2), rng.choice([0.6, 1.0])
    return {
        "x": reach * rng.uniform(-0.47, 0.47, frames),
        "y": reach * rng.uniform(-0.4, 0.4, frames),
        "log_scale": rng.uniform(-0.65, 0.55, frames),
        "roll": rng.uniform(0, 360, frames) if kind in {"rolled", "both"} else rng.normal(0, lean, frames),
        "yaw": rng.uniform(0, 360, frames) if kind in {"turned", "both"} else rng.normal(0, lean, frames),
    }


def _draw_camera(rng: np.random.Generator) -> world.Tracks:
    """Within the panorama; each channel stands still in half of the scenes."""
    limits = {"camera_x": (-0.5, 0.5), "camera_y": (-0.35, 0.35), "camera_zoom": (-0.35, 1.05)}
    middles = {name: rng.uniform(0.6 * low, 0.6 * high) for name, (low, high) in limits.items()}
    moves = {name: rng.integers(2) * rng.uniform(-1, 1, FRAMES_PER_SCENE) for name in limits}
    return {
        name: np.clip(middles[name] + 0.8 * (high - low) / 2 * moves[name], low, high)
        for name, (low, high) in limits.items()
    }


@dataclass(frozen=True)
class Data:
    """What the nets learn from: N scenes of F frames each."""

    frames: NDArray[np.uint8]  # (N, F, H, W, 3)
    placings: NDArray[np.float32]  # (N, F, 4): x, y, log scale of the subject, zoom of the camera
    looks: NDArray[np.int64]  # (N, 2): colour and place as numbers; no colour is -1


def make_data(work: Path, autoencoder: Any, num_scenes: int) -> Data:
    """Render, or load, the scenes: `frames.npy`, then `truth.npz` when all are there."""
    shape = (num_scenes, FRAMES_PER_SCENE, world.SIDE, world.SIDE, 3)
    if not (work / "truth.npz").exists():
        work.mkdir(parents=True, exist_ok=True)
        frames = np.lib.format.open_memmap(work / "frames.npy", mode="w+", dtype=np.uint8, shape=shape)
        for i in range(0, num_scenes, _CHUNK):
            chunk = np.stack([world.render(draw_scene(SEED + j), FRAMES_PER_SCENE) for j in _chunk(i, num_scenes)])
            chunk[::2] = reconstruct(autoencoder, chunk[::2].reshape(-1, *shape[2:]), i).reshape(chunk[::2].shape)
            frames[i : i + len(chunk)] = chunk
        frames.flush()
        placings, looks = zip(*(_truth(draw_scene(SEED + j)) for j in range(num_scenes)), strict=True)
        np.savez(work / "truth.npz", placings=np.stack(placings), looks=np.stack(looks))
    truth = np.load(work / "truth.npz")
    return Data(np.load(work / "frames.npy", mmap_mode="r"), truth["placings"], truth["looks"])


def _chunk(start: int, stop: int) -> Iterator[int]:
    yield from range(start, min(start + _CHUNK, stop))


@torch.inference_mode()
def reconstruct(autoencoder: Any, frames: world.Frames, seed: int, noise: float = 0.15) -> world.Frames:
    """Frames (B, H, W, 3) as the autoencoder gives them back, from latents with up to so much noise on them."""
    generator = torch.Generator().manual_seed(seed)
    pictures_BCHW = to_model_range(frames).contiguous(memory_format=torch.channels_last)
    with autocast("cpu"):
        latents_BCHW = autoencoder.encode(pictures_BCHW).latents.float()
        strength_B = noise * torch.rand(len(frames), 1, 1, 1, generator=generator)
        noisy_BCHW = latents_BCHW + strength_B * torch.randn(latents_BCHW.shape, generator=generator)
        decoded_BCHW = autoencoder.decode(noisy_BCHW).sample.float()
    return to_bytes(decoded_BCHW)


def to_bytes(pictures_BCHW: Tensor) -> world.Frames:
    """(B, 3, H, W) floats in [-1, 1] to (B, H, W, 3) bytes."""
    scaled = (pictures_BCHW.clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
    return np.asarray(scaled.permute(0, 2, 3, 1).numpy())


def load_autoencoder(pipeline: Path) -> Any:
    """The autoencoder of a pipeline folder."""
    from diffusers import AutoencoderTiny

    autoencoder: Any = AutoencoderTiny.from_pretrained(pipeline / "vae")
    return autoencoder.eval().to(memory_format=torch.channels_last)


def _truth(scene: world.Scene) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    channels = scene.channels
    colour = -1 if scene.subject == COLOURLESS else COLOUR_NAMES.index(scene.colour)
    placings = np.stack([channels[name] for name in ("x", "y", "log_scale", "camera_zoom")], axis=-1)
    return placings.astype(np.float32), np.array([colour, PLACE_NAMES.index(scene.place)])


# Learning


def judge_stage(data: Data, net: JudgeNet, num_steps: int = NUM_STEPS, frames_per_step: int = FRAMES_PER_STEP) -> Stage:
    """Single frames, mirrored and roughened."""

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((SEED, step))
        generator = torch.Generator().manual_seed(SEED + step)
        picks = rng.choice(len(data.looks), frames_per_step, replace=False)
        which = rng.integers(FRAMES_PER_SCENE, size=frames_per_step)
        mirrored_B = torch.from_numpy(rng.random(frames_per_step) < 0.5)
        frames_BCHW, placings_B4 = to_model_range(data.frames[picks, which]), torch.tensor(data.placings[picks, which])
        frames_BCHW = roughen(mirror(frames_BCHW, mirrored_B), generator)
        placings_B4[mirrored_B, 0] *= -1
        with autocast("cpu"):
            return _loss(net, frames_BCHW, placings_B4, torch.from_numpy(data.looks[picks]), generator)

    return Stage("judge", net, num_steps, LEARNING_RATE, loss_at)


def mirror(frames_BCHW: Tensor, mirrored_B: Tensor) -> Tensor:
    """Those pictures left side right."""
    return torch.where(mirrored_B.view(-1, 1, 1, 1), frames_BCHW.flip(-1), frames_BCHW)


def roughen(frames_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """What a generator may do to pictures: half of them blurred, all a little recoloured and noised."""
    num, half = len(frames_BCHW), len(frames_BCHW) // 2
    sigma = 0.3 + 0.9 * float(torch.rand((), generator=generator))
    rough = torch.cat([blur(frames_BCHW[:half], sigma), frames_BCHW[half:]])
    gain = 1 + 0.06 * torch.randn(num, 3, 1, 1, generator=generator)
    shift = 0.04 * torch.randn(num, 3, 1, 1, generator=generator)
    noise = 0.08 * torch.rand(num, 1, 1, 1, generator=generator)
    return rough * gain + shift + noise * torch.randn(rough.shape, generator=generator)


def blur(pictures_BCHW: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, sigma in pixels, up to 1.5."""
    taps = torch.exp(-0.5 * (torch.arange(-4, 5) / sigma) ** 2)
    taps = (taps / taps.sum()).repeat(3, 1, 1, 1)
    padded = functional.pad(pictures_BCHW, (4, 4, 4, 4), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, taps, groups=3), taps.transpose(2, 3), groups=3)


def _loss(
    net: JudgeNet, frames_BCHW: Tensor, placings_B4: Tensor, looks_B2: Tensor, generator: torch.Generator
) -> Tensor:
    placed_B3, true_zoom = placings_B4[:, :3], placings_B4[:, 3]
    place, zoom = net.survey(frames_BCHW)
    colour = net.paint(cut_out(frames_BCHW, misplace(placed_B3, generator)))
    return (
        _distance(net.locate(frames_BCHW), placed_B3)
        + _distance(zoom, true_zoom)
        + 0.3 * functional.cross_entropy(place, looks_B2[:, 1])
        + 0.3 * functional.cross_entropy(colour, looks_B2[:, 0], ignore_index=-1)
    )


def misplace(placed_B3: Tensor, generator: torch.Generator) -> Tensor:
    """Placings as the locator may find them: more or less off."""
    off_B3 = torch.randn(placed_B3.shape, generator=generator) * torch.tensor([0.03, 0.03, 0.12])
    return placed_B3 + off_B3 * torch.rand(len(off_B3), 1, generator=generator)


def _distance(found: Tensor, truth: Tensor) -> Tensor:
    return functional.smooth_l1_loss(found / 0.3, truth / 0.3, beta=0.1)


def export(net: JudgeNet, path: Path) -> None:
    """The weights in fp16, whole numbers as they are."""
    state = net.state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    save_file({name: value.contiguous() for name, value in halved.items()}, path)


def train(work: Path, pipeline: Path, *, minutes: float = float("inf"), path: Path = WEIGHTS) -> bool:
    """Make the data, train and write the weights; False when out of time (the same call goes on)."""
    deadline = time.monotonic() + 60 * minutes
    torch.manual_seed(SEED)
    data = make_data(work, load_autoencoder(pipeline), NUM_SCENES)
    net = JudgeNet().train()
    done = judge_stage(data, net).train(work, deadline)
    if done:
        export(net, path)
    return done


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for data, checkpoint and log")
    parser.add_argument("--pipeline", type=Path, default=WEIGHTS.parent, help="whose autoencoder to get used to")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop at a checkpoint after so many")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("done" if train(args.work, args.pipeline, minutes=args.minutes) else "out of time: the same command goes on")  # noqa: T201


if __name__ == "__main__":
    main()
