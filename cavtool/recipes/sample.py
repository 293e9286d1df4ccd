"""How videos are generated."""

from dataclasses import dataclass

from cavtool.recipes.absorb import Absorber
from cavtool.recipes.blend import Blend
from cavtool.recipes.common import DEFAULT_MODEL, DType, check, check_number, check_prompt, check_sampling, check_seed
from cavtool.recipes.memory import AUTO_MEMORY, MemoryOptions

MAX_VIDEOS = 1000  # of one call


@dataclass(frozen=True)
class SampleRecipe:
    """A prompt, the motions to apply, and how to sample; `num_videos` videos take consecutive seeds from `seed` on.

    Motions that are active at the same steps are added, or with `turns` used alone, one after the other, a step each.
    `styles` are absorbers, which change the appearance at every timestep (Ren et al. 2024, Figure 5).
    Without a seed, one is drawn when the work begins. `steps`, `guidance` and `scale`, which enlarges the videos, are
    the model's own if None. `revision`, in a video's recipe, identifies the model's weights. Raises InvalidInput for
    values out of range.
    """

    prompt: str
    motions: tuple[Blend, ...] = ()
    negative: str = ""
    seed: int | None = None
    num_videos: int = 1
    steps: int | None = None
    guidance: float | None = None
    device: str = "auto"
    dtype: DType = DType.AUTO
    model: str = DEFAULT_MODEL
    revision: str = ""
    styles: tuple[Absorber, ...] = ()
    scale: int | None = None
    turns: bool = False
    memory: MemoryOptions = AUTO_MEMORY

    def __post_init__(self) -> None:
        check(bool(self.prompt.strip()), "the prompt is empty", 'say what to show: `cav generate "a red cat"`')
        check_prompt(self.prompt)
        check_prompt(self.negative, "the negative prompt")
        check_number(self.motions, self.styles)
        check_sampling(self.steps, self.guidance)
        check(1 <= self.num_videos <= MAX_VIDEOS, f"`-n` must be from 1 to {MAX_VIDEOS}")
        check(self.scale is None or self.scale > 0, "`--scale` must be at least 1")
        check_seed(self.seeds[0])
        check_seed(self.seeds[-1])

    @property
    def seeds(self) -> range:
        """One seed per video."""
        first = self.seed or 0
        return range(first, first + self.num_videos)
