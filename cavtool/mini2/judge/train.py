"""How the judge is made: `python -m cavtool.mini2.judge.train WORK`, in a folder where cav-mini's autoencoder is done.

It learns from short pieces of clips of any subject, colour, place and motion, held-out ones too, after a round trip
through the autoencoder, with more or less noise on the latents: what it has to read comes out of a denoiser. The result
is `WORK/judge.safetensors`. If it is interrupted, run the same command to resume.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from cavtool.core.noise import step_generator
from cavtool.mini2.judge.network import ATTRIBUTES, Network, TurnNetwork
from cavtool.mini2.judge.reading import Judge
from cavtool.mini2.training.architecture import new_autoencoder, to_model_range
from cavtool.mini2.training.data import check_reused, render_pool
from cavtool.mini2.training.plans import SEED
from cavtool.mini2.training.stage import Stage, autocast, log
from cavtool.mini2.world.motions import HELD_OUT_MOTIONS, Tracks
from cavtool.mini2.world.sampling import NUM_LAYOUTS, sample_scene, sample_still
from cavtool.mini2.world.scenes import CHANNELS, NUM_FRAMES, TIME, Frames, Scene, render
from cavtool.mini2.world.subjects import COLOURLESS

NUM_PIECES, PIECE = 16_000, 4  # pieces of clips, and frames in a piece
NUM_STEPS, NUM_TURN_STEPS, PIECES_A_STEP, LR = 4_000, 4_000, 24, 1e-3
_MISPLACED = (0.015, 0.015, 0.06)  # x, y, log scale: how far off the reading of turns learns to bear
_SEEDS = 40_000_000
_COMPARED = 4  # pieces that are made again to see whether reused ones are the same
_PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
_NONE = -100  # cross_entropy's word for what does not count

Pieces = tuple[Frames, Tensor, Tensor]  # frames, attributes, channels


def any_scene(seed: int) -> Scene:
    """A scene of any subject, colour, place and motion, held out or not."""
    rng = np.random.default_rng((seed, 2))
    subject, colour, place = (str(rng.choice(names)) for names in ATTRIBUTES.values())
    drawn = sample_scene(seed) if rng.random() < 0.7 else sample_still(seed)
    controls: Tracks = dict(drawn.controls)
    if rng.random() < 0.2:
        moves = HELD_OUT_MOTIONS[str(rng.choice(list(HELD_OUT_MOTIONS)))](TIME)
        controls = {name: track + moves.get(name, 0.0) for name, track in controls.items()}
    return Scene(subject, "" if subject == COLOURLESS else colour, place, int(rng.integers(NUM_LAYOUTS)), controls)


def draw_piece(seed: int) -> tuple[Frames, Any, Any]:
    """A few frames (4, H, W, 3) of a scene, in order and near each other; its attributes (3,) and channels (4, 8)."""
    scene, rng = any_scene(seed), np.random.default_rng((seed, 3))
    gaps = rng.integers(1, 5, PIECE - 1)
    picks = np.concatenate([[0], np.cumsum(gaps)]) + rng.integers(NUM_FRAMES - gaps.sum())
    attributes = [ATTRIBUTES["subject"].index(scene.subject), _NONE, ATTRIBUTES["place"].index(scene.place)]
    if scene.colour:
        attributes[1] = ATTRIBUTES["colour"].index(scene.colour)
    channels = np.stack([scene.channels[name][picks] for name in CHANNELS], axis=1)
    return render(scene)[picks], attributes, channels.astype(np.float32)


def make_pieces(work: Path, vae: Any) -> Pieces:
    """Damaged frames (N, 4, H, W, 3), attributes (N, 3) and channels (N, 4, 8), or those made before.

    Raises Conflict if those were made of another world or by another autoencoder.
    """
    path = work / "judge-pieces.npz"
    if not path.exists():
        parts = []
        with render_pool("cpu") as pool:
            for first in range(_SEEDS, _SEEDS + NUM_PIECES, 512):
                seeds = range(first, min(first + 512, _SEEDS + NUM_PIECES))
                frames, attributes, channels = zip(*pool.map(draw_piece, seeds, chunksize=32), strict=True)
                damaged = _damage(np.stack(frames), vae, partial(step_generator, SEED), first)
                parts.append((damaged, np.array(attributes), np.stack(channels)))
                log(work, stage="data: judge", step=seeds.stop - _SEEDS)
        names = ("frames", "attributes", "channels")
        arrays = {name: np.concatenate(part) for name, part in zip(names, zip(*parts, strict=True), strict=True)}
        with path.with_suffix(".tmp").open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        path.with_suffix(".tmp").replace(path)
    made = np.load(path)
    frames, attributes, channels = made["frames"], made["attributes"], made["channels"]
    drawn, _, again = zip(*map(draw_piece, range(_SEEDS, _SEEDS + _COMPARED)), strict=True)
    damaged = _damage(np.stack(drawn), vae, partial(step_generator, SEED), _SEEDS)
    off = np.abs(damaged.astype(float) - frames[:_COMPARED]).mean()
    check_reused(path, are_same=np.array_equal(np.stack(again), channels[:_COMPARED]) and off < 1)
    return frames, torch.from_numpy(attributes), torch.from_numpy(channels)


@torch.inference_mode()
def _damage(frames_NFHWC: Frames, vae: Any, generators: Any, first: int) -> Frames:
    """Through the autoencoder, with noise on the latents: per pixel, in patches, and the same in all frames."""
    damaged = []
    for i, frames_FHWC in enumerate(frames_NFHWC):
        generator = generators(first + i)
        latents = vae.encode(to_model_range(frames_FHWC)).latents
        amounts = torch.rand(3, 1, 1, 1, 1, generator=generator).square() * torch.tensor([0.5, 0.7, 0.4]).view(
            3, 1, 1, 1, 1
        )
        alone, patches = torch.randn(2, *latents.shape, generator=generator)
        patches = functional.interpolate(patches[..., :4, :4], size=latents.shape[-1], mode="bilinear")
        shared = torch.randn(latents.shape[1:], generator=generator)
        noise = (amounts * torch.stack([alone, patches, shared.expand_as(latents)])).sum(0)
        pixels = vae.decode(latents + noise).sample.clamp(-1, 1)
        damaged.append(((pixels + 1) * 127.5).round().byte().movedim(1, -1).numpy())
    return np.stack(damaged)


def judge_stage(pieces: Pieces, network: Network) -> Stage:
    """Cross entropy of the attributes, L1 of the rest; pairs of frames for the camera."""

    def loss_at(step: int) -> Tensor:
        pixels, attributes, channels, _ = _draw_pieces(pieces, step)
        with autocast("cpu"):
            background, features = network.features(pixels.contiguous(memory_format=torch.channels_last))
            seen = network.see(features)
            by_piece = background.view(-1, PIECE, *background.shape[1:])
            moved = torch.stack([network.follow(by_piece[:, a], by_piece[:, b]) for a, b in _PAIRS])
        truth_BK = channels.flatten(0, 1)
        attributes_B3 = attributes.repeat_interleave(PIECE, 0)
        named = [
            functional.cross_entropy(seen.attributes[name].float(), attributes_B3[:, i])
            for i, name in enumerate(ATTRIBUTES)
        ]
        misplaced = functional.smooth_l1_loss(seen.placing.float(), truth_BK[:, :3], beta=0.02)
        mismoved = functional.smooth_l1_loss(moved.float(), moves_between(channels), beta=0.02)
        loss: Tensor = sum(named, torch.zeros(())) + 10 * misplaced + 10 * mismoved
        return loss

    return Stage("judge", network, NUM_STEPS, LR, loss_at)


def turn_stage(pieces: Pieces, network: TurnNetwork) -> Stage:
    """L1 of roll and yaw, as points on circles."""

    def loss_at(step: int) -> Tensor:
        pixels, _, channels, generator = _draw_pieces(pieces, step)
        truth_BK = channels.flatten(0, 1)
        off_B3 = torch.randn(len(truth_BK), 3, generator=generator) * torch.tensor(_MISPLACED)
        angles = torch.deg2rad(truth_BK[:, 3:5])
        turn = torch.stack([angles.cos(), angles.sin()], dim=2).flatten(1)
        with autocast("cpu"):
            read = network(pixels, truth_BK[:, :3] + off_B3)
        return functional.smooth_l1_loss(read.float(), turn, beta=0.2)

    return Stage("turns", network, NUM_TURN_STEPS, LR, loss_at)


def _draw_pieces(pieces: Pieces, step: int) -> tuple[Tensor, Tensor, Tensor, torch.Generator]:
    """A step's frames (B * 4, 3, H, W), attributes (B, 3) and channels (B, 4, 8), and what goes on drawing."""
    frames, attributes, channels = pieces
    generator = step_generator(SEED, step)
    picks = torch.randint(len(frames), (PIECES_A_STEP,), generator=generator)
    return to_model_range(frames[picks.numpy()]).flatten(0, 1), attributes[picks], channels[picks], generator


def moves_between(channels_NFK: Tensor) -> Tensor:
    """(pairs, N, 3): how the background of one frame goes to another's, place = scale * place + move."""
    place, zoom = -channels_NFK[..., 5:7], channels_NFK[..., 7:]
    moves = []
    for a, b in _PAIRS:
        more = zoom[:, b] - zoom[:, a]
        moves.append(torch.cat([place[:, b] - more.exp() * place[:, a], more], dim=1))
    return torch.stack(moves)


def main() -> None:
    """The recipe as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of a training whose autoencoder is done")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    vae = new_autoencoder()
    vae.load_state_dict(torch.load(args.work / "autoencoder.pt", weights_only=True)["average"])
    torch.manual_seed(SEED)
    network, turn_network = Network(), TurnNetwork()
    pieces = make_pieces(args.work, vae)
    judge_stage(pieces, network).train(args.work, float("inf"))
    turn_stage(pieces, turn_network).train(args.work, float("inf"))
    trained = Judge(network, turn_network).networks.state_dict()
    state = {name: value.half().contiguous() for name, value in trained.items()}
    save_file(state, args.work / "judge.safetensors")


if __name__ == "__main__":
    main()
