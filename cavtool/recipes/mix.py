"""How motions are combined into one."""

from dataclasses import dataclass

from cavtool.recipes.blend import Blend
from cavtool.recipes.common import check


@dataclass(frozen=True)
class MixRecipe:
    """The motions of a mix with their weights, and its rank (default: the sum of their ranks, which is exact).

    Raises InvalidInput for fewer than two motions, for a motion named twice, which is more likely a typing error than a
    sum, for a weight of 0, for a window, which a weights file cannot have, and for a rank below 1.
    """

    motions: tuple[Blend, ...]
    rank: int | None = None

    def __post_init__(self) -> None:
        names = [blend.name for blend in self.motions]
        check(len(names) > 1, "a mix needs at least two motions", "`cav cp NAME NEW` copies one")
        for blend in self.motions:
            name = blend.name
            check(names.count(name) == 1, f"`{name}` is named twice", "name it once, with the sum of its weights")
            check(blend.weight, f"the weight of `{name}` is 0", "leave the motion out")
            hint = "give windows to `cav generate --motion`"
            check(blend.window is None, f"`{name}` cannot have a window in a mix", hint)
        check(self.rank is None or self.rank > 0, "`--rank` must be at least 1")
