"""Parts that the recipes share."""

import math
from enum import StrEnum

from cavtool.errors import InvalidInput

DEFAULT_MODEL = "cav-mini"
MAX_SAMPLING_STEPS = 500  # up to here, schedulers that space 1000 timesteps by whole numbers are exact
MAX_RANK = 1024  # of a LoRA to train: more is no low rank, and takes more memory than the model


class AbsorberKind(StrEnum):
    """What learns the reference's appearance in stage 1 (Ren et al. 2024): a spatial LoRA, a token, or both."""

    DUAL = "dual"
    S_LORA = "s-lora"
    TEXTINV = "textinv"
    NONE = "none"


class DType(StrEnum):
    """Compute precision of training and sampling; `auto` is what the machine is fast at: bf16, fp16 or fp32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


def check(ok: object, message: str, hint: str | None = None) -> None:
    """Raise InvalidInput unless `ok`."""
    if not ok:
        raise InvalidInput(message, hint=hint)


def check_seed(seed: int) -> None:
    """Raise InvalidInput for a seed that torch cannot take."""
    check(0 <= seed < 2**63, "`--seed` must be from 0 to 2^63 - 1")


def check_sampling(steps: int | None, guidance: float | None) -> None:
    """Raise InvalidInput for numbers of sampling steps or guidance scales out of range; None is the model's own."""
    in_range = steps is None or 1 <= steps <= MAX_SAMPLING_STEPS
    check(in_range, f"`--steps` must be from 1 to {MAX_SAMPLING_STEPS}")
    check(guidance is None or 0 <= guidance < math.inf, "`--guidance` must be 0 or more")
