"""How much of everything pretraining makes and does, and the seeds it draws from."""

from dataclasses import dataclass

SEED = 20240222
CLIP_SEEDS, STILL_SEEDS = 10_000_000, 20_000_000  # far apart, and far from the seeds tests and benchmarks use


@dataclass(frozen=True)
class Plan:
    """What the two machines differ in."""

    num_stills: int
    num_clips: int
    autoencoder_steps: int
    decoder_steps: int
    still_steps: int
    word_steps: int
    video_steps: int
    frames_per_step: int = 32
    stills_per_step: int = 64
    clips_per_step: int = 16
    stills_every: int = 3  # one video-stage step in so many is a bypassed still batch
    autoencoder_lr: float = 2e-3
    lr: float = 8e-4


PLANS = {
    "cpu": Plan(
        num_stills=50_000,
        num_clips=24_000,
        autoencoder_steps=9_000,
        decoder_steps=3_000,
        still_steps=12_000,
        word_steps=600,
        video_steps=10_500,
    ),
    "cuda": Plan(
        num_stills=120_000,
        num_clips=60_000,
        autoencoder_steps=8_000,
        decoder_steps=4_000,
        still_steps=6_000,
        word_steps=600,
        video_steps=24_000,
        stills_per_step=128,
        clips_per_step=64,
    ),
}
