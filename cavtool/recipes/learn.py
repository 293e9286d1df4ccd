"""How a motion is learned."""

import math
from dataclasses import dataclass

from cavtool.names import absorber_name, check_learned
from cavtool.recipes.absorb import ABSORBER_STEPS, Absorber
from cavtool.recipes.common import DEFAULT_MODEL, MAX_LR, MAX_RANK, AbsorberKind, DType, check, check_prompt, check_seed
from cavtool.recipes.memory import AUTO_MEMORY, MemoryOptions

MAX_STEPS = 400  # of the motion
MAX_RECOLOUR = 256  # each version takes time to encode, and disk space


@dataclass(frozen=True)
class LearnRecipe:
    """The captions, the clip and the training of a motion.

    `prompt` is the full caption y (appearance and motion), `appearance` the caption y_S of the absorber's stage. `lr`
    and `steps` are those of the T-LoRA, which is trained and applied at the noisiest timesteps only, from the share
    `noise_from` on (None: the model's own): they decide the motion, and the base model decides the rest (similar to
    MotionMatcher's timesteps and to the early stop of Separate Motion from Appearance, arXiv 2501.16714). `start` and
    `duration`, in seconds, choose the clip (default: its busiest part). If `steps` is 0, the training stops when trials
    of its checkpoints bring nothing better, at most after `MAX_STEPS`, and keeps the best. `absorbers` are loaded in
    place of one that is trained, so that `absorber_kind` and `absorber_steps` do not count. `batch_size` is that of a
    step, over all processes and parts. `recolour` is the number of versions in other colours (see `core.colours`) that
    half of the training takes; with 0, or with existing absorbers, which know the clip's own colours, it takes the clip
    only. Raises InvalidInput for values out of range.
    """

    prompt: str = ""
    appearance: str = ""
    absorber_kind: AbsorberKind = AbsorberKind.DUAL
    start: float | None = None
    duration: float | None = None
    steps: int = 0
    absorber_steps: int = ABSORBER_STEPS
    noise_from: float | None = None
    rank: int = 32
    lr: float = 1.5e-3
    absorber_lr: float = 1e-3
    batch_size: int = 2
    recolour: int = 0
    seed: int = 0
    device: str = "auto"
    dtype: DType = DType.AUTO
    model: str = DEFAULT_MODEL
    absorbers: tuple[Absorber, ...] = ()
    memory: MemoryOptions = AUTO_MEMORY

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        check_prompt(self.appearance, "the caption of the appearance")
        check(self.steps >= 0, "`--steps` must be 0 or more")
        check(self.absorber_steps > 0, "`--absorber-steps` must be at least 1", "`--absorber-kind none` trains none")
        check(self.noise_from is None or 0 <= self.noise_from < 1, "`--noise-from` must be at least 0 and below 1")
        check(1 <= self.rank <= MAX_RANK, f"`--rank` must be from 1 to {MAX_RANK}")
        check(0 <= self.recolour <= MAX_RECOLOUR, f"`--recolour` must be from 0 to {MAX_RECOLOUR}")
        check(self.batch_size > 0, "`--batch-size` must be at least 1")
        num_parts = self.memory.gradient_accumulation_steps
        check(num_parts <= self.batch_size, f"a batch of {self.batch_size} cannot be split into {num_parts} parts")
        check(0 < self.lr <= MAX_LR, f"`--lr` must be above 0 and at most {MAX_LR:g}")
        check(0 < self.absorber_lr <= MAX_LR, f"`absorber_lr` must be above 0 and at most {MAX_LR:g}")
        check(self.start is None or 0 <= self.start < math.inf, "`--start` must be 0 or more seconds")
        check(
            self.duration is None or 0 < self.duration < math.inf,
            "`--duration` must be a finite number of seconds above 0",
        )
        check_seed(self.seed)

    @property
    def trains_absorber(self) -> bool:
        """Whether there is a stage 1."""
        return self.absorber_kind is not AbsorberKind.NONE and not self.absorbers

    @property
    def num_versions(self) -> int:
        """The recoloured versions to learn from, besides the clip."""
        return 0 if self.absorbers else self.recolour

    @property
    def motion_steps(self) -> int:
        """The steps of stage 2, at most."""
        return self.steps or MAX_STEPS

    @property
    def total_steps(self) -> int:
        """The steps of both stages, at most."""
        return self.motion_steps + (self.absorber_steps if self.trains_absorber else 0)

    def prompt_for(self, name: str) -> str:
        """The prompt; if it is empty, the words of the name."""
        return self.prompt or name.replace("_", " ").replace("-", " ")

    def leaves(self, name: str) -> tuple[str, ...]:
        """The names of the assets that learning `name` adds: the motion and its absorber, if one is trained.

        Raises InvalidInput for a name that leaves no room for that of the absorber.
        """
        if not self.trains_absorber:
            return (name,)
        check_learned(name)
        return (name, absorber_name(name))
