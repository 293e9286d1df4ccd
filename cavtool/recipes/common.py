"""Parts that the recipes share."""

import json
import math
from collections.abc import Sized
from enum import StrEnum

from cavtool.errors import InvalidInput

DEFAULT_MODEL = "cav-mini"
MAX_SAMPLING_STEPS = 500  # up to here, schedulers that space 1000 timesteps by whole numbers are exact
MAX_PROMPT = 5000  # characters
MAX_TEXT = 30_000  # bytes of a prompt in the metadata, in which é takes 6: ffmpeg takes 128 kB of options
MAX_TOGETHER = 32  # motions, or styles, of one video: all must fit into its metadata
MAX_LR = 1e30  # larger ones overflow in the optimizer
MAX_WEIGHT = 100.0  # of a motion or absorber; far smaller ones already make every video black
MAX_GUIDANCE = 100.0  # models use 1 to 15; far more gives colours without a picture
_SHORTER = "write a shorter one: models read at most 300 to 2000 characters"
MAX_RANK = 1024  # of a LoRA to train: more is no low rank, and takes more memory than the model


class AbsorberKind(StrEnum):
    """What learns the reference's appearance in stage 1 (Ren et al. 2024): a spatial LoRA, a token, or both."""

    DUAL = "dual"
    S_LORA = "s-lora"
    TEXTINV = "textinv"
    NONE = "none"


class DType(StrEnum):
    """Compute precision of training and sampling; `auto` is the fastest on this machine: bf16, fp16 or fp32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Layout(StrEnum):
    """The layout of an exported file, by the tools that read it."""

    CAV = "cav"  # everything that is in the registry
    DIFFUSERS = "diffusers"  # and PEFT
    COMFY = "comfy"
    KOHYA = "kohya"  # sd-scripts, A1111; for Wan musubi-tuner


def check(ok: object, message: str, hint: str | None = None) -> None:
    """Raise InvalidInput unless `ok`."""
    if not ok:
        raise InvalidInput(message, hint=hint)


def check_prompt(text: str, what: str = "the prompt") -> None:
    """Raise InvalidInput for a text that is too long for the metadata of a video; models read far less."""
    in_range = len(text) <= MAX_PROMPT
    check(in_range, f"{what} has {len(text)} characters, at most {MAX_PROMPT} are possible", _SHORTER)
    size = len(json.dumps(text))
    check(size <= MAX_TEXT, f"{what} takes {size} bytes of metadata, at most {MAX_TEXT} are possible", _SHORTER)


def check_number(motions: Sized, styles: Sized) -> None:
    """Raise InvalidInput for more motions or styles than the metadata of a video takes."""
    for what, given, hint in (("motions", motions, "`cav mix` makes one motion of several"), ("styles", styles, None)):
        message = f"{len(given)} {what} are too many for one video, at most {MAX_TOGETHER} are possible"
        check(len(given) <= MAX_TOGETHER, message, hint)


def check_seed(seed: int) -> None:
    """Raise InvalidInput for a seed that torch cannot take."""
    check(0 <= seed < 2**63, "`--seed` must be from 0 to 2^63 - 1")


def check_sampling(steps: int | None, guidance: float | None) -> None:
    """Raise InvalidInput for numbers of sampling steps or guidance scales out of range; None is the model's own."""
    in_range = steps is None or 1 <= steps <= MAX_SAMPLING_STEPS
    check(in_range, f"`--steps` must be from 1 to {MAX_SAMPLING_STEPS}")
    check(guidance is None or 0 <= guidance <= MAX_GUIDANCE, f"`--guidance` must be from 0 to {MAX_GUIDANCE:g}")


def read_weight(name: str, text: str) -> float:
    """The weight in the text after the colon of `NAME:WEIGHT`. Raises InvalidInput unless it is a number."""
    try:
        return float(text.replace("_", "x"))  # Python would read 1_0
    except ValueError:
        message = f"the weight of `{name}` must be a number, not `{text}`"
        raise InvalidInput(message, hint=f"write `{name}:0.7`, or `{name}` alone") from None


def check_weight(name: str, weight: float) -> None:
    """Raise InvalidInput for the weight of a motion or absorber that no model can take."""
    check(math.isfinite(weight), f"the weight of `{name}` must be a finite number, not {weight}")
    in_range = abs(weight) <= MAX_WEIGHT
    check(
        in_range,
        f"the weight of `{name}` must be from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}",
        "1 applies it as it was learned",
    )
