"""The base models that `cav` knows by name: where they are, their licences, and what they need."""

from dataclasses import dataclass, field
from pathlib import Path

from cavtool.models.family import FAMILIES, Native, NativeClip

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@dataclass(frozen=True)
class Needs:
    """Estimates in GB: the download, and the memory to learn a motion and to generate a video at the native size.

    `learn_least` is with gradient checkpointing and one video at a time, which `cav learn` chooses by itself.
    """

    download: float
    learn: float
    generate: float
    learn_least: float


@dataclass(frozen=True)
class Entry:
    """A base model in the catalogue.

    `source` is a repository on the Hub, and `adapter` that of its AnimateDiff motion adapter; a model that comes with
    the package has its `folder` instead. `max_frames` is the longest clip the model was made for. `native` is None if
    the folder says it all.
    """

    name: str
    family: str
    licence: str
    needs: Needs
    source: str = ""
    adapter: str = ""
    folder: Path | None = None
    native: Native | None = None
    max_frames: int | None = None
    commercial: bool = field(default=True, kw_only=True)

    @property
    def usual(self) -> Native:
        """How the model is used, as far as it is known without its folder."""
        return self.native or FAMILIES[self.family].native


_WAN_CLIP = NativeClip(33, 16, 832, 480, multiple=16, frame_step=4)
# Licences as the model cards state them; that of the motion adapter is guoyww/animatediff's, whose weights it holds.
# Downloads are of the files that `pull` chooses, rounded.
# Memory: bf16 weights and `python -m tests.benchmarks.memory`; those of Wan 2.2 5B, whose VAE differs, are guesses.
# Sampling as in the examples of the model cards; Wan 2.2 as in its own configs.
CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry(
            "cav-mini",
            "unet3d",
            "Apache-2.0",
            Needs(download=0, learn=1.5, generate=1, learn_least=1),
            folder=Path(__file__).parents[1] / "mini" / "weights",
        ),
        Entry(
            "modelscope",
            "unet3d",
            "CC-BY-NC-4.0 (in its text: CC-BY-NC-ND)",
            Needs(download=3.7, learn=19, generate=6, learn_least=5),
            "ali-vilab/text-to-video-ms-1.7b",
            native=Native(NativeClip(16, 8, 256, 256), 40, 9.0, 0.5),
            commercial=False,
        ),
        Entry(
            "zeroscope",
            "unet3d",
            "CC-BY-NC-4.0",
            Needs(download=3.7, learn=64, generate=7, learn_least=8),
            "cerspense/zeroscope_v2_576w",
            native=Native(NativeClip(24, 8, 576, 320), 40, 9.0, 0.5),
            commercial=False,
        ),
        Entry(
            "animatediff",
            "animatediff",
            "Apache-2.0 (adapter), OpenRAIL-M (SD 1.5)",
            Needs(download=3.0, learn=47, generate=6, learn_least=7),
            SD15,
            "guoyww/animatediff-motion-adapter-v1-5-3",
            native=Native(NativeClip(16, 8, 512, 512), 25, 7.5, 0.5),
            max_frames=32,
        ),
        Entry(
            "wan-1.3b",
            "wan",
            "Apache-2.0",
            Needs(download=29, learn=88, generate=15, learn_least=18),
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            native=Native(_WAN_CLIP, 50, 6.0, 0.17, flow_shift=8.0),
            max_frames=81,
        ),
        Entry(
            "wan-14b",
            "wan",
            "Apache-2.0",
            Needs(download=80, learn=328, generate=40, learn_least=51),
            "Wan-AI/Wan2.1-T2V-14B-Diffusers",
            native=Native(_WAN_CLIP, 50, 5.0, 0.35, flow_shift=3.0),
            max_frames=81,
        ),
        Entry(
            "wan2.2-14b",
            "wan",
            "Apache-2.0",
            Needs(download=126, learn=356, generate=69, learn_least=80),
            "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
            native=Native(_WAN_CLIP, 40, 4.0, 0.12, flow_shift=12.0),
            max_frames=81,
        ),
        Entry(
            "wan2.2-5b",
            "wan",
            "Apache-2.0",
            Needs(download=34, learn=40, generate=26, learn_least=26),
            "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
            native=Native(NativeClip(49, 24, 1280, 704, multiple=32, frame_step=4), 50, 5.0, 0.25, flow_shift=5.0),
            max_frames=121,
        ),
    )
}


def entry_of(source: str) -> Entry | None:
    """The entry of the model that a repository on the Hub holds whole; None if there is none."""
    entries = CATALOGUE.values()
    return next((entry for entry in entries if source and entry.source == source and not entry.adapter), None)
