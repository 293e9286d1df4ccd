"""Pictures that the base model makes by itself: what the training of a style must not change.

Prior preservation (Ruiz et al. 2023, arXiv 2208.12242), with many subjects and places in place of one class.
"""

import time
from functools import partial

import torch

from cavtool.core.adapters.absorber import Stills
from cavtool.core.noise import step_generator
from cavtool.events import OnEvent, Stage, Step
from cavtool.studio.session import Session

PROMPTS = (  # words that every base model knows, cav-mini too
    "a red car in the snow",
    "a blue box in the desert",
    "a green fish on the ocean",
    "a brown house in the forest",
    "a black cat in the city",
    "a yellow star at night",
    "an orange bird in the meadow",
    "a purple dinosaur on the volcano",
    "a pink mug in the snow",
    "a cyan robot in the desert",
    "a red boat on the ocean",
    "a green tree in the city",
    "a blue rocket at night",
    "a brown dinosaur in the forest",
    "a black bird on the volcano",
    "a yellow house in the meadow",
)
STILLS_EACH = 3
SAMPLING_STEPS = 20


def own_stills(session: Session, seed: int, on_event: OnEvent) -> list[Stills]:
    """Stills of each of PROMPTS by the base model, with time bypassed as in the training."""
    backbone, native = session.backbone, session.model.native
    shape = backbone.latent_shape(1, native.clip.height, native.clip.width)
    made, began = list[Stills](), time.monotonic()
    on_event(Stage("pictures", 1, 2))
    for i, prompt in enumerate(PROMPTS):
        conditioning = backbone.encode_text([prompt])
        predict = partial(
            backbone.predict_guided,
            positive=conditioning,
            negative=backbone.encode_text([""]),
            guidance_scale=native.guidance,
        )
        scheduler = backbone.scheduler()
        scheduler.set_timesteps(min(SAMPLING_STEPS, native.steps))
        noise = torch.randn((STILLS_EACH, *shape[1:]), generator=step_generator(seed, i)).to(backbone.device)
        with backbone.without_time(), session.at_sampling_precision():
            latents = session.denoise(predict, scheduler, noise * scheduler.init_noise_sigma)
        made.append((conditioning, latents.cpu()))
        on_event(Step("pictures", i + 1, len(PROMPTS), None, round(time.monotonic() - began, 3)))
    return made
