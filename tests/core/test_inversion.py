"""Inversion finds the noise from which sampling returns to the latents."""

from functools import partial

import pytest
import torch
from torch import Tensor

from cavtool.core.backbones.protocol import Backbone
from cavtool.core.inversion import invert
from cavtool.core.noise import seeded_noise
from cavtool.core.sampling import Predict, sample
from cavtool.mini import world
from cavtool.studio.session import open_session

STEPS = 6


def error_of(
    backbone: Backbone, predict: Predict, latents: Tensor, *, start: int = 0, max_iterations: int = 2
) -> float:
    """The mean distance between the latents and where inversion and sampling lead."""
    scheduler = backbone.scheduler()
    scheduler.set_timesteps(STEPS)
    noise = invert(predict, scheduler, latents, start=start, max_iterations=max_iterations)
    assert (noise - latents).abs().mean() > 0.3
    return float((sample(predict, scheduler, noise, start=start) - latents).abs().mean())


@pytest.mark.parametrize("start", [0, 2])
def test_a_prediction_that_does_not_depend_on_the_latents_is_undone_exactly(backbone: Backbone, start: int) -> None:
    latents, constant = (seeded_noise((1, 4, 5, 8, 8), seed, "cpu") for seed in (1, 2))
    assert error_of(backbone, lambda _, __: constant, latents, start=start, max_iterations=1) < 1e-4


@pytest.mark.slow
def test_more_iterations_return_closer_to_a_clip() -> None:
    """cav-mini predicts v at a zero terminal signal-to-noise ratio, which the inverse scheduler of diffusers cannot."""
    backbone = open_session("cav-mini").backbone
    scene = world.sample_scene(10_000)
    latents = backbone.encode_clip(world.render(scene, 4))
    predict: Predict = partial(backbone.predict, conditioning=backbone.encode_text([scene.caption]))
    once, twice, often = (error_of(backbone, predict, latents, max_iterations=n) for n in (1, 2, 4))
    assert often < twice < once
    assert often < once / 2


def test_the_steps_are_counted(backbone: Backbone) -> None:
    scheduler = backbone.scheduler()
    scheduler.set_timesteps(STEPS)
    seen: list[int] = []
    invert(lambda x, _: x, scheduler, torch.zeros(1, 4, 2, 8, 8), start=2, on_step=seen.append)
    assert seen == [1, 2, 3, 4]
