"""Learn a motion from one video and put it on new subjects, with text-to-video diffusion models.

    import cavtool
    cavtool.learn("twirl", Path("ref.mp4"), cavtool.LearnRecipe(prompt="a white lantern twirls on the moon"))
    cavtool.generate(cavtool.SampleRecipe("ironman", motions=(cavtool.Blend("twirl", 0.7),)))

Everything loads when it is first used; importing the package loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cavtool._version import __version__ as __version__

if TYPE_CHECKING:
    from cavtool.errors import CavError as CavError
    from cavtool.recipes import AbsorberKind as AbsorberKind
    from cavtool.recipes import Blend as Blend
    from cavtool.recipes import LearnRecipe as LearnRecipe
    from cavtool.recipes import SampleRecipe as SampleRecipe
    from cavtool.registry.store import Registry as Registry
    from cavtool.studio.generate import generate as generate
    from cavtool.studio.learn import learn as learn
    from cavtool.studio.learn import resume as resume
    from cavtool.workspace import Workspace as Workspace


_HOMES = {
    "AbsorberKind": "cavtool.recipes",
    "Blend": "cavtool.recipes",
    "CavError": "cavtool.errors",
    "LearnRecipe": "cavtool.recipes",
    "Registry": "cavtool.registry.store",
    "SampleRecipe": "cavtool.recipes",
    "Workspace": "cavtool.workspace",
    "generate": "cavtool.studio.generate",
    "learn": "cavtool.studio.learn",
    "resume": "cavtool.studio.learn",
}
__all__ = [
    "AbsorberKind",
    "Blend",
    "CavError",
    "LearnRecipe",
    "Registry",
    "SampleRecipe",
    "Workspace",
    "generate",
    "learn",
    "resume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `cavtool` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)
