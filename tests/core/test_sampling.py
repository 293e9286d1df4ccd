import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from cavtool.core.adapters import lora
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.protocol import Backbone
from cavtool.core.noise import seeded_noise
from cavtool.core.sampling import Predict, sample
from cavtool.mini.architecture import LATENT_CHANNELS
from cavtool.models import find_model
from tests.core.test_lora import random_state

STEPS, GUIDANCE, PROMPT, NEGATIVE = 6, 7.5, "a red cat in the desert", "blue"


def guided(backbone: Backbone) -> Predict:
    texts = {"positive": backbone.encode_text([PROMPT]), "negative": backbone.encode_text([NEGATIVE])}
    return partial(backbone.predict_guided, **texts, guidance_scale=GUIDANCE)


def ours(backbone: Backbone, noise: torch.Tensor) -> torch.Tensor:
    scheduler = backbone.scheduler()
    scheduler.set_timesteps(STEPS)
    return sample(guided(backbone), scheduler, noise * scheduler.init_noise_sigma)


def theirs(folder: Path, noise: torch.Tensor, adapter: lora.LoraState | None) -> torch.Tensor:
    """The result of diffusers' pipeline, with the adapter injected into its UNet by peft, not merged."""
    from diffusers import DiffusionPipeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TextToVideoSDPipeline is deprecated, but works
        pipeline: Any = DiffusionPipeline.from_pretrained(folder)
        pipeline.set_progress_bar_config(disable=True)
        if adapter:
            lora.load_into(pipeline.unet, "cav_motion", adapter)
        _, _, frames, height, width = noise.shape
        return pipeline(  # type: ignore[no-any-return]
            PROMPT,
            negative_prompt=NEGATIVE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            num_frames=frames,
            height=height * 8,
            width=width * 8,
            latents=noise,
            output_type="latent",
        ).frames


@pytest.mark.parametrize("with_motion", [False, True])
def test_sampling_equals_diffusers_pipeline(backbone: Backbone, folder: Path, with_motion: bool) -> None:
    noise = seeded_noise((1, 4, 5, 8, 8), 11, "cpu")
    motion = random_state(backbone, backbone.temporal_targets(), 1)
    base = ours(backbone, noise)
    with merged(backbone.denoiser, [(motion, 1.0)] if with_motion else []):
        made = ours(backbone, noise)
    torch.testing.assert_close(made, theirs(folder, noise, motion if with_motion else None), atol=1e-4, rtol=0)
    assert bool((made - base).abs().max() > 1e-2) is with_motion


@pytest.mark.slow
def test_cav_mini_samples_and_decodes_as_diffusers_pipeline_does() -> None:
    """Its schedule differs from ModelScope's: v-prediction, zero terminal SNR, trailing steps."""
    folder = find_model("cav-mini").folder
    backbone = open_backbone(folder, device="cpu", dtype="fp32")
    noise = seeded_noise((1, LATENT_CHANNELS, 4, 8, 8), 11, "cpu")
    made, expected = ours(backbone, noise), theirs(folder, noise, None)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)
    assert (noise - made).abs().mean() > 0.1


def test_sampling_in_segments_gives_the_same_result(backbone: Backbone) -> None:
    noise = seeded_noise((1, 4, 5, 8, 8), 11, "cpu")
    scheduler = backbone.scheduler()
    scheduler.set_timesteps(STEPS)
    predict = guided(backbone)
    seen: list[int] = []
    middle = sample(predict, scheduler, noise, stop=2, on_step=seen.append)
    end = sample(predict, scheduler, middle, start=2, on_step=seen.append)
    assert torch.equal(end, ours(backbone, noise))
    assert seen == [1, 2, 3, 4, 5, 6]


def test_the_noise_depends_on_the_seed_alone() -> None:
    shape = (1, 4, 2, 4, 4)
    assert torch.equal(seeded_noise(shape, 5, "cpu"), seeded_noise(shape, 5, "cpu"))
    assert not torch.equal(seeded_noise(shape, 5, "cpu"), seeded_noise(shape, 6, "cpu"))
