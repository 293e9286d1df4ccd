"""What a user asks for, as small frozen records: checked when made, the same for the CLI, runs and metadata."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from cavtool.errors import InvalidInput
from cavtool.names import absorber_name

DEFAULT_MODEL = "cav-mini"
MAX_SAMPLING_STEPS = 500  # schedulers that space 1000 timesteps by whole numbers are exact up to here
_BLEND = re.compile(r"(?P<name>[^:].*?)(?::(?P<weight>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))?")


class AbsorberKind(StrEnum):
    """What soaks up the reference's appearance in stage 1 (Ren et al. 2024): spatial LoRA, a learned token, or both."""

    DUAL = "dual"
    S_LORA = "s-lora"
    TEXTINV = "textinv"
    NONE = "none"


class DType(StrEnum):
    """Arithmetic of training and sampling; `auto` picks bf16 where the machine is fast at it, else fp32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


@dataclass(frozen=True)
class Blend:
    """A motion and its weight in a generation, written `twirl:0.7`; in a video's recipe also which version it was."""

    name: str
    weight: float = 1.0
    content_id: str = ""

    def __post_init__(self) -> None:
        _check(math.isfinite(self.weight), f"weight of `{self.name}` must be a finite number")

    def __str__(self) -> str:
        return self.name if self.weight == 1.0 else f"{self.name}:{self.weight:g}"


def parse_blend(text: str) -> Blend:
    """Read `NAME[:WEIGHT]`, split at the last colon only where a number follows. Raises InvalidInput."""
    match = _BLEND.fullmatch(text.strip())
    if match is None:
        raise InvalidInput("a motion needs a name", hint="write `--motion twirl` or `--motion twirl:0.7`")
    return Blend(match["name"], float(match["weight"] or 1.0))


@dataclass(frozen=True)
class LearnRecipe:
    """How a motion is learned.

    `prompt` is the full caption y (appearance and motion), `appearance` the caption y_S of the absorber's stage. `lr`
    and `steps` are the T-LoRA's, which learns, and later works, at the noisiest timesteps only: from the share
    `noise_from` of them on. There the motion is laid down; the base keeps its own hand in what follows (in the way of
    MotionMatcher's timesteps and of Separate Motion from Appearance's early stop, arXiv 2501.16714). `start` and
    `duration`, in seconds, choose the clip, else its busiest window is taken. Raises InvalidInput for values out of
    range.
    """

    prompt: str = ""
    appearance: str = ""
    absorber_kind: AbsorberKind = AbsorberKind.DUAL
    start: float | None = None
    duration: float | None = None
    steps: int = 250
    absorber_steps: int = 100
    noise_from: float = 0.7
    rank: int = 32
    lr: float = 1.5e-3
    absorber_lr: float = 1e-3
    batch_size: int = 2
    seed: int = 0
    device: str = "auto"
    dtype: DType = DType.AUTO
    model: str = DEFAULT_MODEL

    def __post_init__(self) -> None:
        _check(self.steps > 0, "`--steps` must be at least 1")
        _check(self.absorber_steps > 0, "`--absorber-steps` must be at least 1", "`--absorber-kind none` trains none")
        _check(0 <= self.noise_from < 1, "`--noise-from` must be at least 0 and below 1")
        _check(self.rank > 0, "`--rank` must be at least 1")
        _check(self.batch_size > 0, "`--batch-size` must be at least 1")
        _check(0 < self.lr < math.inf, "`--lr` must be above 0")
        _check(0 < self.absorber_lr < math.inf, "`absorber_lr` must be above 0")
        _check(self.start is None or 0 <= self.start < math.inf, "`--start` must be 0 or more seconds")
        _check(self.duration is None or 0 < self.duration < math.inf, "`--duration` must be above 0 seconds")
        _check_seed(self.seed)

    @property
    def total_steps(self) -> int:
        """Of both stages."""
        return self.steps + (0 if self.absorber_kind is AbsorberKind.NONE else self.absorber_steps)

    def prompt_for(self, name: str) -> str:
        """The prompt; without one, the name as words."""
        return self.prompt or name.replace("_", " ").replace("-", " ")

    def leaves(self, name: str) -> tuple[str, ...]:
        """The assets that learning as `name` leaves: the motion and, where one is trained, its absorber."""
        return (name,) if self.absorber_kind is AbsorberKind.NONE else (name, absorber_name(name))


@dataclass(frozen=True)
class SampleRecipe:
    """How videos are generated: the seed alone tells one from another; `num_videos` of them take consecutive seeds.

    Without a seed, one is drawn when the work begins. `revision`, in a video's recipe, is that of the model's weights.
    Raises InvalidInput for values out of range.
    """

    prompt: str
    motions: tuple[Blend, ...] = ()
    negative: str = ""
    seed: int | None = None
    num_videos: int = 1
    steps: int = 25
    guidance: float = 3.0
    device: str = "auto"
    dtype: DType = DType.AUTO
    model: str = DEFAULT_MODEL
    revision: str = ""

    def __post_init__(self) -> None:
        _check(bool(self.prompt.strip()), "the prompt is empty", 'say what to show: `cav generate "a red cat"`')
        _check(1 <= self.steps <= MAX_SAMPLING_STEPS, f"`--steps` must be from 1 to {MAX_SAMPLING_STEPS}")
        _check(self.num_videos > 0, "`-n` must be at least 1")
        _check(math.isfinite(self.guidance) and self.guidance >= 0, "`--guidance` must be 0 or more")
        _check_seed(self.seeds[0])
        _check_seed(self.seeds[-1])

    @property
    def seeds(self) -> range:
        """One seed a video, from `seed` on."""
        first = self.seed or 0
        return range(first, first + self.num_videos)


def _check_seed(seed: int) -> None:
    _check(0 <= seed < 2**63, "`--seed` must be from 0 to 2^63 - 1")


def _check(ok: object, message: str, hint: str | None = None) -> None:
    if not ok:
        raise InvalidInput(message, hint=hint)
