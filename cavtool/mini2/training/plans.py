"""How much of everything a training makes and does, and the seeds it draws from."""

from dataclasses import dataclass

SEED = 20260222
CLIP_SEEDS, STILL_SEEDS = 10_000_000, 20_000_000  # far apart, and far from the seeds of tests and benchmarks


@dataclass(frozen=True)
class Plan:
    """What differs between the two machines: numbers of scenes, of steps, and of scenes in a step of each process."""

    num_frames: int  # of the autoencoder's
    num_stills: int
    num_clips: int
    num_captions: int
    autoencoder_steps: int
    word_steps: int
    still_steps: int
    course_steps: int
    sparse_steps: int
    video_steps: int
    frames_per_step: int
    stills_per_step: int
    captions_per_step: int
    sparse_clips: int  # of a step that sees `sparse_frames` of each
    sparse_frames: int
    clips_per_step: int
    stills_among_clips: int  # of a step
    video_lr: float


PLANS = {
    "cpu": Plan(
        num_frames=12_000,
        num_stills=60_000,
        num_clips=12_000,
        num_captions=12_000,
        autoencoder_steps=7_000,
        word_steps=1_000,
        still_steps=10_000,
        course_steps=600,
        sparse_steps=10_000,
        video_steps=6_000,
        frames_per_step=16,
        stills_per_step=64,
        captions_per_step=32,
        sparse_clips=11,
        sparse_frames=6,
        clips_per_step=4,
        stills_among_clips=16,
        video_lr=2e-4,
    ),
    "cuda": Plan(
        num_frames=20_000,
        num_stills=150_000,
        num_clips=120_000,
        num_captions=30_000,
        autoencoder_steps=4_000,
        word_steps=1_500,
        still_steps=1_500,
        course_steps=300,
        sparse_steps=0,
        video_steps=10_000,
        frames_per_step=96,
        stills_per_step=512,
        captions_per_step=128,
        sparse_clips=340,
        sparse_frames=6,
        clips_per_step=128,
        stills_among_clips=64,
        video_lr=1e-3,
    ),
}
