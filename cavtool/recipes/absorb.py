"""How an absorber is trained on its own, and which existing ones to load."""

import re
from dataclasses import dataclass

from cavtool.errors import InvalidInput
from cavtool.recipes.common import (
    DEFAULT_MODEL,
    MAX_LR,
    MAX_RANK,
    AbsorberKind,
    DType,
    check,
    check_prompt,
    check_seed,
    check_weight,
    read_weight,
)
from cavtool.recipes.memory import AUTO_MEMORY, MemoryOptions

ABSORBER_STEPS = 100
STYLE_STEPS = 600
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_NAME_AND_WINDOW = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]*)(?P<rest>[:@].*)")


@dataclass(frozen=True)
class Absorber:
    """An absorber to load and its weight: the name of an asset, or the path of a file or folder made elsewhere.

    A record of its use, such as a video's recipe, also holds its kind and its content id (the SHA-256 of its weights);
    of a path only the last part.
    """

    name: str
    weight: float = 1.0
    content_id: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        check_weight(self.name, self.weight)

    def __str__(self) -> str:
        return self.name if self.weight == 1.0 else f"{self.name}:{self.weight:g}"

    @property
    def is_file(self) -> bool:
        """Whether it is a path: it contains a separator or a suffix, as no name of an asset does."""
        return any(sign in self.name for sign in "/\\.")


def parse_absorber(text: str) -> Absorber:
    """Read `NAME_OR_FILE[:WEIGHT]`; a path may contain colons. Raises InvalidInput."""
    text = text.strip()
    name, colon, weight = text.rpartition(":")
    if "@" in text and (found := _NAME_AND_WINDOW.fullmatch(text)):
        hint = "motions can: `--motion NAME@0-0.5`"
        raise InvalidInput(f"`{found['name']}` cannot have a window: an absorber is used at all steps", hint=hint)
    if not colon or _is_in_a_path(name, weight):
        name, weight = text, "1"
    if not name:
        raise InvalidInput("an absorber needs a name or a file", hint="write `twirl-look`, or `style.safetensors:0.7`")
    return Absorber(name, read_weight(name, weight))


def _is_in_a_path(before: str, after: str) -> bool:
    """Whether the colon between these texts belongs to a path: that of a drive, or in the name of a file or folder."""
    is_drive = len(before) == 1 and before.isalpha() and after[:1] in {"/", "\\"}
    return is_drive or any(sign in after for sign in "/\\") or after.lower().endswith(WEIGHT_FILES)


@dataclass(frozen=True)
class AbsorbRecipe:
    """The training of an absorber on its own; `prompt` describes the appearance (y_S in Ren et al. 2024).

    One `for_style` shows it in new places; any other keeps it out of a motion. `steps` is ABSORBER_STEPS or STYLE_STEPS
    if None. Raises InvalidInput for values out of range.
    """

    prompt: str = ""
    kind: AbsorberKind = AbsorberKind.DUAL
    for_style: bool = False
    steps: int | None = None
    rank: int = 32
    lr: float = 1e-3
    batch_size: int = 2
    seed: int = 0
    device: str = "auto"
    dtype: DType = DType.AUTO
    model: str = DEFAULT_MODEL
    memory: MemoryOptions = AUTO_MEMORY

    def __post_init__(self) -> None:
        check(self.kind is not AbsorberKind.NONE, "`--kind` must be dual, s-lora or textinv")
        check_prompt(self.prompt)
        needed = "`--for-style` needs a `--prompt`"
        check(
            self.prompt.strip() or not self.for_style,
            needed,
            "the same words call for it later",
        )
        check(self.num_steps > 0, "`--steps` must be at least 1")
        check(1 <= self.rank <= MAX_RANK, f"`--rank` must be from 1 to {MAX_RANK}")
        check(0 < self.lr <= MAX_LR, f"`lr` must be above 0 and at most {MAX_LR:g}")
        check(self.batch_size > 0, "`batch_size` must be at least 1")
        check_seed(self.seed)

    @property
    def num_steps(self) -> int:
        """The number of training steps."""
        usual = STYLE_STEPS if self.for_style else ABSORBER_STEPS
        return usual if self.steps is None else self.steps
