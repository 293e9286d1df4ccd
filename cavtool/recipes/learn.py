"""How a motion is learned."""

import math
from dataclasses import dataclass
from enum import StrEnum

from cavtool.names import absorber_name
from cavtool.recipes.common import DEFAULT_MODEL, DType, check, check_seed


class AbsorberKind(StrEnum):
    """What learns the reference's appearance in stage 1 (Ren et al. 2024): a spatial LoRA, a token, or both."""

    DUAL = "dual"
    S_LORA = "s-lora"
    TEXTINV = "textinv"
    NONE = "none"


@dataclass(frozen=True)
class LearnRecipe:
    """The captions, the clip and the training of a motion.

    `prompt` is the full caption y (appearance and motion), `appearance` the caption y_S of the absorber's stage. `lr`
    and `steps` are those of the T-LoRA, which is trained and applied at the noisiest timesteps only, from the share
    `noise_from` on (None: the model's own): they decide the motion, and the base model decides the rest (similar to
    MotionMatcher's timesteps and to the early stop of Separate Motion from Appearance, arXiv 2501.16714). `start` and
    `duration`, in seconds, choose the clip (default: its busiest part). Raises InvalidInput for values out of range.
    """

    prompt: str = ""
    appearance: str = ""
    absorber_kind: AbsorberKind = AbsorberKind.DUAL
    start: float | None = None
    duration: float | None = None
    steps: int = 250
    absorber_steps: int = 100
    noise_from: float | None = None
    rank: int = 32
    lr: float = 1.5e-3
    absorber_lr: float = 1e-3
    batch_size: int = 2
    seed: int = 0
    device: str = "auto"
    dtype: DType = DType.AUTO
    model: str = DEFAULT_MODEL

    def __post_init__(self) -> None:
        check(self.steps > 0, "`--steps` must be at least 1")
        check(self.absorber_steps > 0, "`--absorber-steps` must be at least 1", "`--absorber-kind none` trains none")
        check(self.noise_from is None or 0 <= self.noise_from < 1, "`--noise-from` must be at least 0 and below 1")
        check(self.rank > 0, "`--rank` must be at least 1")
        check(self.batch_size > 0, "`--batch-size` must be at least 1")
        check(0 < self.lr < math.inf, "`--lr` must be above 0")
        check(0 < self.absorber_lr < math.inf, "`absorber_lr` must be above 0")
        check(self.start is None or 0 <= self.start < math.inf, "`--start` must be 0 or more seconds")
        check(self.duration is None or 0 < self.duration < math.inf, "`--duration` must be above 0 seconds")
        check_seed(self.seed)

    @property
    def total_steps(self) -> int:
        """The steps of both stages."""
        return self.steps + (0 if self.absorber_kind is AbsorberKind.NONE else self.absorber_steps)

    def prompt_for(self, name: str) -> str:
        """The prompt; if it is empty, the words of the name."""
        return self.prompt or name.replace("_", " ").replace("-", " ")

    def leaves(self, name: str) -> tuple[str, ...]:
        """The names of the assets that learning `name` adds: the motion and its absorber, if one is trained."""
        return (name,) if self.absorber_kind is AbsorberKind.NONE else (name, absorber_name(name))
