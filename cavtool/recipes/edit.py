"""How a video is edited."""

from dataclasses import dataclass
from enum import StrEnum

from cavtool.recipes.absorb import Absorber
from cavtool.recipes.blend import Blend
from cavtool.recipes.common import DEFAULT_MODEL, DType, check, check_number, check_prompt, check_sampling, check_seed
from cavtool.recipes.memory import AUTO_MEMORY, MemoryOptions


class EditStart(StrEnum):
    """What sampling starts from: the video's latents inverted with DDIM, or with random noise added (SDEdit)."""

    DDIM = "ddim"
    NOISE = "noise"


WITH_MOTION, WITHOUT = 1.0, 0.9  # strengths


@dataclass(frozen=True)
class EditRecipe:
    """The prompt that a video is changed to, the motions and styles to apply, and how to invert and sample.

    `source_prompt` describes the video as it is. `strength` is the share of the sampling steps that are done again: 0
    changes nothing, 1 starts from pure noise; if None, see `share`. `turns` is that of `SampleRecipe`. A seed is used
    by `EditStart.NOISE` only; without one, it is drawn when the work begins. `steps` and `guidance` are the model's own
    if None. `revision`, in a video's recipe, identifies the model's weights. Raises InvalidInput for values out of
    range.
    """

    prompt: str
    source_prompt: str = ""
    motions: tuple[Blend, ...] = ()
    start: EditStart = EditStart.DDIM
    strength: float | None = None
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    device: str = "auto"
    dtype: DType = DType.AUTO
    model: str = DEFAULT_MODEL
    revision: str = ""
    styles: tuple[Absorber, ...] = ()
    turns: bool = False
    memory: MemoryOptions = AUTO_MEMORY

    def __post_init__(self) -> None:
        check(bool(self.prompt.strip()), "the prompt is empty", 'say what to show: `cav edit VIDEO "a red cat"`')
        check_prompt(self.prompt)
        check_prompt(self.source_prompt, "the source prompt")
        check_prompt(self.negative, "the negative prompt")
        check_number(self.motions, self.styles)
        check_sampling(self.steps, self.guidance)
        check(0 <= self.share <= 1, "`--strength` must be from 0 to 1")
        check_seed(self.seed or 0)

    @property
    def share(self) -> float:
        """The strength; by default 1 if a motion is added to the inverted video, for it acts on the first steps."""
        if self.strength is None:
            return WITH_MOTION if self.motions and self.start is EditStart.DDIM else WITHOUT
        return self.strength

    def first_step(self, num_steps: int) -> int:
        """The index, of `num_steps`, of the sampling step that the edit starts with; `num_steps` for none."""
        return num_steps - round(self.share * num_steps)
