"""The families of base models, and which of them a pipeline folder belongs to: read from its configs, without torch."""

import json
import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from cavtool.errors import Incompatible, IntegrityFailure
from cavtool.system.files import read_text
from cavtool.system.safetensors import find_weights, is_whole
from cavtool.system.versions import is_newer

PIPELINE = "model_index.json"
ADAPTER = "motion_adapter"  # the folder of an AnimateDiff motion adapter beside an image UNet
SECOND = "transformer_2"  # the folder of the expert of Wan 2.2 A14B for less noisy timesteps
PICKLES = (".ckpt", ".pt", ".pth", ".bin")

_IMAGE_TO_VIDEO = ("ImageToVideo", "StableVideoDiffusion", "I2VGen", "Image2Video")
_I2V_CHANNELS = 36  # of Wan's image-to-video transformers; those of text-to-video have 16 or 48


@dataclass(frozen=True)
class NativeClip:
    """The clips a model was made for; width and height in pixels, which the model can make in steps of `multiple`.

    Clips have 1 frame more than a multiple of `frame_step`, which is above 1 for VAEs that compress time.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    multiple: int = 64
    frame_step: int = 1

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.num_frames / self.fps

    def num_latents(self, num_frames: int) -> int:
        """How many frames of latents a clip of `num_frames` frames has."""
        return (num_frames - 1) // self.frame_step + 1

    def num_frames_for(self, seconds: float) -> int:
        """The number of frames, at least the native one, with which the model can make a video of this length."""
        steps = math.ceil((round(seconds * self.fps) - 1) / self.frame_step)
        return max(self.num_frames, self.frame_step * steps + 1)

    def size_like(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of about the native area and of about the aspect ratio of `width` to `height`.

        The aspect ratio counts four times as much as the area: 16:9 is 320x192 for a model of 256x256.
        """
        sides = range(self.multiple, 4 * max(self.width, self.height) + 1, self.multiple)
        aspect, area = width / height, self.width * self.height

        def mismatch(size: tuple[int, int]) -> float:
            return 4 * abs(math.log(size[0] / size[1] / aspect)) + abs(math.log(size[0] * size[1] / area))

        return min(product(sides, sides), key=mismatch)


@dataclass(frozen=True)
class Native:
    """How a model is used unless the user says otherwise.

    `steps` and `guidance` are those of sampling. A motion is trained and applied from the share `noise_from` of the
    timesteps on, where 1 is pure noise. `flow_shift` is for flow matching; None leaves the scheduler of the folder.
    """

    clip: NativeClip
    steps: int
    guidance: float
    noise_from: float
    flow_shift: float | None = None


@dataclass(frozen=True)
class Family:
    """Models that one backbone runs.

    `title` is for messages, `parts` are the folders with weights, `native` is how such a model is used if nothing else
    is known, `caveat` what its users should know. A clip has `most_frames` at most, None for no limit.
    """

    title: str
    denoiser: str
    parts: tuple[str, ...]
    native: Native
    caveat: str = ""
    most_frames: int | None = None

    def side_step(self, clip: NativeClip) -> int:
        """The step, in pixels, in which sides can be chosen: UNets pad what is less than their own `multiple`."""
        return _PIXELS_A_LATENT if self.denoiser == "unet" else clip.multiple


_PIXELS_A_LATENT = 8
_UNET_PARTS = ("unet", "vae", "text_encoder")
# noise_from: MotionMatcher trains the noisier half of the timesteps of the UNets, where the noise has 1.6 times the
# amplitude of the video or more: for flow matching from the noise level 0.62 on, which is the share 0.62 / (s - 0.62
# (s - 1)) of a schedule with the shift s, 0.35 for 3. Not measured on these models here.
FAMILIES = {
    "unet3d": Family("ModelScope", "unet", _UNET_PARTS, Native(NativeClip(16, 8, 256, 256), 40, 9.0, 0.5)),
    "animatediff": Family(  # its motion modules have positions for 32 frames
        "AnimateDiff", "unet", _UNET_PARTS, Native(NativeClip(16, 8, 512, 512), 25, 7.5, 0.5), most_frames=32
    ),
    "wan": Family(
        "Wan",
        "transformer",
        ("transformer", "vae", "text_encoder"),
        Native(NativeClip(33, 16, 832, 480, multiple=16, frame_step=4), 50, 5.0, 0.35),
        "it has no layers along time; whether its motions leave out the reference's appearance has not been measured",
    ),
}
_DENOISERS = {
    "UNet3DConditionModel": "unet3d",
    "UNetMotionModel": "animatediff",
    "UNet2DConditionModel": "animatediff",
    "WanTransformer3DModel": "wan",
}


def detect_family(folder: Path, name: str = "") -> str:
    """The family of a pipeline folder, a key of FAMILIES. `name` is what messages call it (default: the folder's name).

    Raises Incompatible for models of another kind, IntegrityFailure for a folder that is not a complete pipeline.
    """
    name = name or folder.name
    pipeline = str(_read(folder / PIPELINE).get("_class_name", ""))
    if any(word in pipeline for word in _IMAGE_TO_VIDEO):
        raise _image_to_video(name, pipeline)
    if _read(folder / "config.json").get("_class_name") == "MotionAdapter":
        hint = f"`cav models add NAME {folder} --base MODEL` puts it on a Stable Diffusion 1.5 model"
        raise Incompatible(f"`{name}` is a motion adapter, not a whole model", hint=hint)
    config = next((found for part in ("unet", "transformer") if (found := _read(folder / part / "config.json"))), {})
    denoiser = str(config.get("_class_name", ""))
    if not denoiser:
        hint = "such a folder has a `model_index.json` and a `unet` or `transformer` folder; download it again"
        raise IntegrityFailure(f"`{name}` is not a complete diffusers pipeline folder", hint=hint)
    if denoiser not in _DENOISERS:
        raise _unknown(name, denoiser, str(config.get("_diffusers_version", "")))
    if denoiser == "UNet2DConditionModel" and not (folder / ADAPTER).is_dir():
        base = folder if folder.name == name else name
        hint = f"if it is a Stable Diffusion 1.5 model: `cav models pull animatediff --base {base}`"
        raise Incompatible(f"`{name}` is an image model without motion modules", hint=hint)
    if denoiser == "WanTransformer3DModel" and (config.get("image_dim") or config.get("in_channels") == _I2V_CHANNELS):
        raise _image_to_video(name, denoiser)
    return _DENOISERS[denoiser]


def check_clip(clip: NativeClip, family: str, name: str) -> None:
    """Raise Incompatible, with the nearest clip in the hint, unless models of the family can make such clips."""
    kind = FAMILIES[family]
    most, step, side = kind.most_frames, clip.frame_step, kind.side_step(clip)
    frames = step * max(0, round((clip.num_frames - 1) / step)) + 1
    frames = min(frames, most) if most else frames
    width, height = (max(side, side * round(each / side)) for each in (clip.width, clip.height))
    if frames != clip.num_frames:
        rule = f"at most {most}" if most else f"{step}n + 1"
        message = f"`{name}` cannot make clips of {clip.num_frames} frames: it needs {rule}"
        raise Incompatible(message, hint=f"use {frames} frames")
    if (width, height) != (clip.width, clip.height):
        message = f"`{name}` cannot make frames of {clip.width}x{clip.height}: sides must be multiples of {side}"
        raise Incompatible(message, hint=f"use {width}x{height}")


def check_complete(folder: Path, family: str, name: str, hint: str) -> None:
    """Raise IntegrityFailure, with this hint, if a part that the family needs is missing, damaged or only pickled."""
    index = _read(folder / PIPELINE)
    if family == "wan" and not index:
        raise IntegrityFailure(f"`{name}` is not complete: it has no `{PIPELINE}`", hint=hint)
    has_two = bool(index.get("boundary_ratio")) or any(index.get(SECOND) or ())
    optional = [part for part in (ADAPTER, SECOND) if (folder / part).is_dir() or (part == SECOND and has_two)]
    for part, file in (("scheduler", "scheduler_config.json"), ("tokenizer", "*")):
        if not any((folder / part).glob(file)):
            raise IntegrityFailure(f"`{name}` is not complete: it has no `{part}`", hint=hint)
    for part in (*FAMILIES[family].parts, *optional):
        if not (folder / part / "config.json").exists():
            raise IntegrityFailure(f"`{name}` is not complete: it has no `{part}`", hint=hint)
        weights = find_weights(folder / part)
        if weights is None and any((folder / part).glob("*.bin")):
            hint = f"`cav models add NAME {folder}` converts them to safetensors"
            raise IntegrityFailure(f"`{name}` has only pickled weights, which can run code when loaded", hint=hint)
        if weights is None or not all(file.exists() for file in weights.files):
            raise IntegrityFailure(f"`{name}` is not complete: weights of its `{part}` are missing", hint=hint)
        if not all(map(is_whole, weights.files)):
            raise IntegrityFailure(f"`{name}` is not complete: weights of its `{part}` are truncated", hint=hint)


def _read(file: Path) -> dict[str, Any]:
    """A config; empty if there is none. Raises IntegrityFailure if it is damaged."""
    try:
        return dict(json.loads(read_text(file)))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        hint = "the file is damaged: download or save the model again"
        raise IntegrityFailure(f"cannot read `{file}`: {error}", hint=hint) from error


def _image_to_video(name: str, kind: str) -> Incompatible:
    hint = "`cav` needs a text-to-video model: see `cav models list`"
    return Incompatible(f"`{name}` is an image-to-video model ({kind})", hint=hint)


def _unknown(name: str, denoiser: str, saved_by: str) -> Incompatible:
    """The error for a denoiser without a family."""
    from importlib.metadata import version  # 20 ms that no other command needs

    installed = version("diffusers")
    if is_newer(saved_by, installed):
        message = f"`{name}` is newer than the library: saved by diffusers {saved_by}, installed is {installed}"
        return Incompatible(message, hint="`pip install -U diffusers`, or another model: see `cav models list`")
    families = ", ".join(each.title for each in FAMILIES.values())
    return Incompatible(f"cannot use `{name}`: its denoiser is a {denoiser}", hint=f"supported families: {families}")
