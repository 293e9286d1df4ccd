"""How far a training has come: `python -m tests.benchmarks2.denoiser WORK [STAGE...]`, in the folder of a training.

For the averaged weights of each stage (`stills`, `courses`, `sparse`, `videos`): the loss on clips it was not trained
on, by timestep; and what an opposite word costs, such as "left" where the subject goes right, for clips that move in
one way alone. A word that costs nothing is not understood.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cavtool.core.noise import step_generator
from cavtool.mini2.training.architecture import Denoiser, new_autoencoder, new_scheduler, new_tokenizer, to_tokens
from cavtool.mini2.training.data import encode
from cavtool.mini2.world.motions import CAMERA_MOTIONS, OBJECT_MOTIONS
from cavtool.mini2.world.sampling import sample_scene
from cavtool.mini2.world.scenes import TIME, Scene, caption, render
from tests.benchmarks.tables import write_table
from tests.benchmarks2.common import REPORT_PROMPTS, RESULTS

TIMESTEPS = (960, 900, 800, 700, 500, 200)
ASKED_AT = 800  # the timestep at which words are compared
FIRST_SEED = 90_000_000
OPPOSITES = (
    ("moves left", "moves right"),
    ("turns left", "turns right"),
    ("tips left", "tips right"),
    ("pans left", "pans right"),
    ("tilts up", "tilts down"),
    ("zooms in", "zooms out"),
    ("dollies in", "dollies out"),
)
BATCH = 8


class Trained:
    """The parts of a training."""

    def __init__(self, work: Path) -> None:
        self.tokenizer, self.vae = new_tokenizer(), new_autoencoder().eval()
        self.denoiser = Denoiser(self.tokenizer)
        self._work = work
        self.vae.load_state_dict(self._average("autoencoder"))
        self.denoiser.text_encoder.load_state_dict(_part("text_encoder.", self._average("words")))
        self.alphas = new_scheduler().alphas_cumprod

    def _average(self, stage: str) -> dict[str, Tensor]:
        average: dict[str, Tensor] = torch.load(self._work / f"{stage}.pt", weights_only=True)["average"]
        return average

    def load(self, stage: str) -> None:
        """The denoiser as this stage has left it."""
        average = self._average(stage)
        self.denoiser.unet.load_state_dict(average if stage == "stills" else _part("unet.", average))

    def encode(self, scenes: Iterable[Scene]) -> Tensor:
        """Latents (N, C, F, H, W)."""
        return torch.stack([encode(self.vae, render(scene), "cpu").float().transpose(0, 1) for scene in scenes])

    @torch.inference_mode()
    def loss(self, latents_NCFHW: Tensor, captions: list[str], timestep: int) -> float:
        """Mean squared error of the predicted v; the same noise for all captions."""
        errors = []
        alpha, sigma = self.alphas[timestep].sqrt(), (1 - self.alphas[timestep]).sqrt()
        for i in range(0, len(captions), BATCH):
            latents = latents_NCFHW[i : i + BATCH]
            noise = torch.randn(latents.shape, generator=step_generator(timestep, i))
            text = self.denoiser.text_encoder(to_tokens(self.tokenizer, captions[i : i + BATCH]))[0]
            text = text.repeat_interleave(latents.shape[2], 0)
            predicted = self.denoiser.unet(alpha * latents + sigma * noise, timestep, text).sample
            errors.append((predicted - (alpha * noise - sigma * latents)).square().mean((1, 2, 3, 4)))
        return float(torch.cat(errors).mean())


def _part(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def both_ways(ways: tuple[str, str]) -> tuple[list[Scene], list[str]]:
    """Scenes that move one way or the other, and captions that say the opposite."""
    scenes, opposite = [], []
    for way, other in (ways, ways[::-1]):
        is_camera = way in CAMERA_MOTIONS
        controls = (CAMERA_MOTIONS if is_camera else OBJECT_MOTIONS)[way](TIME, 1.0)
        for look in REPORT_PROMPTS:
            said, unsaid = (caption(*look, *(("", word) if is_camera else (word,))) for word in (way, other))
            scenes.append(Scene(*look, 5, controls, said))
            opposite.append(unsaid)
    return scenes, opposite


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("stages", nargs="*", default=["videos"])
    parser.add_argument("--clips", type=int, default=64)
    args = parser.parse_args()
    trained = Trained(args.work)
    scenes = [sample_scene(FIRST_SEED + i) for i in range(args.clips)]
    clips = trained.encode(scenes)
    pairs = {ways: both_ways(ways) for ways in OPPOSITES}
    pair_clips = {ways: trained.encode(moving) for ways, (moving, _) in pairs.items()}
    losses, costs = [], []
    for stage in args.stages:
        trained.load(stage)
        at = [trained.loss(clips, [scene.caption for scene in scenes], t) for t in TIMESTEPS]
        losses.append((stage, *(f"{value:.4f}" for value in (*at, np.mean(at)))))
        print(*losses[-1], flush=True)
        worth = []
        for ways, (moving, opposite) in pairs.items():
            right = trained.loss(pair_clips[ways], [scene.caption for scene in moving], ASKED_AT)
            worth.append(trained.loss(pair_clips[ways], opposite, ASKED_AT) - right)
        costs.append((stage, *(f"{value:.4f}" for value in worth)))
        print(*costs[-1], flush=True)
    columns = ("after", *(f"t = {t}" for t in TIMESTEPS), "mean")
    write_table("denoiser", f"Loss on {args.clips} unseen clips", columns, losses, folder=RESULTS)
    columns = ("after", *(ways[0].split()[0] for ways in OPPOSITES))
    write_table("words", f"What the opposite word costs at t = {ASKED_AT}", columns, costs, folder=RESULTS)


if __name__ == "__main__":
    main()
