"""How an absorber is trained on its own, and which existing ones to load."""

import math
import re
from dataclasses import dataclass

from cavtool.errors import InvalidInput
from cavtool.recipes.common import DEFAULT_MODEL, MAX_RANK, AbsorberKind, DType, check, check_seed
from cavtool.recipes.levers import AUTO_LEVERS, Levers

_ABSORBER = re.compile(r"(?P<name>[^:].*?)(?::(?P<weight>[-+]?(?:nan|inf|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)))?")


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
        check(math.isfinite(self.weight), f"weight of `{self.name}` must be a finite number")

    def __str__(self) -> str:
        return self.name if self.weight == 1.0 else f"{self.name}:{self.weight:g}"

    @property
    def is_file(self) -> bool:
        """Whether it is a path: it contains a separator or a suffix, as no name of an asset does."""
        return any(sign in self.name for sign in "/\\.")


def parse_absorber(text: str) -> Absorber:
    """Read `NAME_OR_FILE[:WEIGHT]`, split at the last colon only if a number follows. Raises InvalidInput."""
    match = _ABSORBER.fullmatch(text.strip())
    if match is None:
        raise InvalidInput("an absorber needs a name or a file", hint="write `twirl-look`, or `style.safetensors:0.7`")
    return Absorber(match["name"], float(match["weight"] or 1.0))


@dataclass(frozen=True)
class AbsorbRecipe:
    """The training of an absorber on its own; `prompt` describes the appearance (y_S in Ren et al. 2024).

    Raises InvalidInput for values out of range.
    """

    prompt: str = ""
    kind: AbsorberKind = AbsorberKind.DUAL
    steps: int = 100
    rank: int = 32
    lr: float = 1e-3
    batch_size: int = 2
    seed: int = 0
    device: str = "auto"
    dtype: DType = DType.AUTO
    model: str = DEFAULT_MODEL
    levers: Levers = AUTO_LEVERS

    def __post_init__(self) -> None:
        check(self.kind is not AbsorberKind.NONE, "`--kind` must be dual, s-lora or textinv")
        check(self.steps > 0, "`--steps` must be at least 1")
        check(1 <= self.rank <= MAX_RANK, f"`--rank` must be from 1 to {MAX_RANK}")
        check(0 < self.lr < math.inf, "`lr` must be above 0")
        check(self.batch_size > 0, "`batch_size` must be at least 1")
        check_seed(self.seed)
