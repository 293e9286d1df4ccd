"""How much captions lower the loss of cav-mini's denoiser: `python -m tests.benchmarks.denoiser [NUM_CLIPS]`.

The loss on clips it was not trained on, by timestep: with the caption, without the words for the subject's motion, and
without any words. Motion is visible through much noise, so the words can help only at noisy timesteps.
"""

import sys

import torch
from torch import Tensor

from cavtool.core.backbones.protocol import Backbone
from cavtool.core.noise import step_generator
from cavtool.mini import world
from cavtool.studio.session import open_session
from tests.benchmarks.tables import write_table

TIMESTEPS = (999, 950, 900, 850, 800, 700, 600, 400, 200)
FIRST_SEED = 90_000_000
BATCH = 32


def moving_scenes(count: int) -> list[tuple[world.Scene, str]]:
    """Scenes whose caption says how the subject moves, each with its caption without the motion."""
    found: list[tuple[world.Scene, str]] = []
    seed = FIRST_SEED
    while len(found) < count:
        scene = world.sample_scene(seed)
        motions = [motion for motion in world.OBJECT_MOTIONS if f" {motion}" in scene.caption]
        if motions and motions != ["stands still"]:
            found.append((scene, scene.caption.replace(f" {motions[0]}", "")))
        seed += 1
    return found


@torch.inference_mode()
def loss(backbone: Backbone, latents_NCFHW: Tensor, captions: list[str], timestep: int) -> float:
    """Mean squared error of the prediction, with the same noise for all captions."""
    errors = []
    for i in range(0, len(captions), BATCH):
        latents = latents_NCFHW[i : i + BATCH]
        noise = torch.randn(latents.shape, generator=step_generator(timestep, i))
        timesteps = torch.full((len(latents),), timestep)
        conditioning = backbone.encode_text(captions[i : i + BATCH])
        predicted = backbone.predict(backbone.add_noise(latents, noise, timesteps), timesteps, conditioning)
        errors.append((predicted - backbone.target(latents, noise, timesteps)).square().mean((1, 2, 3, 4)))
    return float(torch.cat(errors).mean())


def main() -> None:
    num_clips = int(sys.argv[1]) if len(sys.argv) > 1 else 96
    backbone = open_session("cav-mini").backbone
    scenes = moving_scenes(num_clips)
    with torch.inference_mode():
        clips = torch.cat([backbone.encode_clip(world.render(scene)) for scene, _ in scenes])
    captions = {
        "whole caption": [scene.caption for scene, _ in scenes],
        "without the motion": [caption for _, caption in scenes],
        "without any": [""] * num_clips,
    }
    rows = [
        (str(timestep), *(f"{loss(backbone, clips, texts, timestep):.4f}" for texts in captions.values()))
        for timestep in TIMESTEPS
    ]
    write_table("denoiser", "Loss on unseen clips, by caption", ("timestep", *captions), rows)


if __name__ == "__main__":
    main()
