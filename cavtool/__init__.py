"""Learn a motion from one video and apply it to new subjects, with text-to-video diffusion models.

    import cavtool
    cavtool.learn("twirl", Path("ref.mp4"), cavtool.LearnRecipe(prompt="a white lantern twirls on the moon"))
    cavtool.generate(cavtool.SampleRecipe("ironman", motions=(cavtool.Blend("twirl", 0.7),)))
    cavtool.edit(Path("cat.mp4"), cavtool.EditRecipe("a blue rocket", source_prompt="a red cat"))

Everything loads when it is first used; importing the package loads nothing heavy.
"""

from cavtool._version import __version__ as __version__

TYPE_CHECKING = False  # `typing` and `importlib` take longer to load than the rest of this
if TYPE_CHECKING:
    from cavtool.errors import CavError as CavError
    from cavtool.errors import Conflict as Conflict
    from cavtool.errors import Incompatible as Incompatible
    from cavtool.errors import IntegrityFailure as IntegrityFailure
    from cavtool.errors import InvalidInput as InvalidInput
    from cavtool.errors import MediaError as MediaError
    from cavtool.errors import NotFound as NotFound
    from cavtool.errors import RequirementError as RequirementError
    from cavtool.errors import TrainingError as TrainingError
    from cavtool.events import Note as Note
    from cavtool.events import Stage as Stage
    from cavtool.events import Step as Step
    from cavtool.events import Warn as Warn
    from cavtool.recipes import Absorber as Absorber
    from cavtool.recipes import AbsorberKind as AbsorberKind
    from cavtool.recipes import AbsorbRecipe as AbsorbRecipe
    from cavtool.recipes import Blend as Blend
    from cavtool.recipes import EditRecipe as EditRecipe
    from cavtool.recipes import EditStart as EditStart
    from cavtool.recipes import LearnRecipe as LearnRecipe
    from cavtool.recipes import MemoryOptions as MemoryOptions
    from cavtool.recipes import MixRecipe as MixRecipe
    from cavtool.recipes import SampleRecipe as SampleRecipe
    from cavtool.registry import Asset as Asset
    from cavtool.registry import Record as Record
    from cavtool.registry import Registry as Registry
    from cavtool.studio.absorb import absorb as absorb
    from cavtool.studio.edit import edit as edit
    from cavtool.studio.evaluate import Evaluation as Evaluation
    from cavtool.studio.evaluate import evaluate as evaluate
    from cavtool.studio.generate import generate as generate
    from cavtool.studio.learn import learn as learn
    from cavtool.studio.learn import resume as resume
    from cavtool.studio.mix import mix as mix
    from cavtool.workspace import Workspace as Workspace

_HOMES = {
    "AbsorbRecipe": "cavtool.recipes",
    "Absorber": "cavtool.recipes",
    "AbsorberKind": "cavtool.recipes",
    "Asset": "cavtool.registry",
    "Blend": "cavtool.recipes",
    "CavError": "cavtool.errors",
    "Conflict": "cavtool.errors",
    "EditRecipe": "cavtool.recipes",
    "EditStart": "cavtool.recipes",
    "Incompatible": "cavtool.errors",
    "Evaluation": "cavtool.studio.evaluate",
    "IntegrityFailure": "cavtool.errors",
    "InvalidInput": "cavtool.errors",
    "LearnRecipe": "cavtool.recipes",
    "MemoryOptions": "cavtool.recipes",
    "MediaError": "cavtool.errors",
    "MixRecipe": "cavtool.recipes",
    "NotFound": "cavtool.errors",
    "Note": "cavtool.events",
    "Record": "cavtool.registry",
    "Registry": "cavtool.registry",
    "RequirementError": "cavtool.errors",
    "SampleRecipe": "cavtool.recipes",
    "Stage": "cavtool.events",
    "Step": "cavtool.events",
    "TrainingError": "cavtool.errors",
    "Warn": "cavtool.events",
    "Workspace": "cavtool.workspace",
    "absorb": "cavtool.studio.absorb",
    "evaluate": "cavtool.studio.evaluate",
    "edit": "cavtool.studio.edit",
    "generate": "cavtool.studio.generate",
    "learn": "cavtool.studio.learn",
    "mix": "cavtool.studio.mix",
    "resume": "cavtool.studio.learn",
}
__all__ = [
    "AbsorbRecipe",
    "Absorber",
    "AbsorberKind",
    "Asset",
    "Blend",
    "CavError",
    "Conflict",
    "EditRecipe",
    "EditStart",
    "Evaluation",
    "Incompatible",
    "IntegrityFailure",
    "InvalidInput",
    "LearnRecipe",
    "MediaError",
    "MemoryOptions",
    "MixRecipe",
    "NotFound",
    "Note",
    "Record",
    "Registry",
    "RequirementError",
    "SampleRecipe",
    "Stage",
    "Step",
    "TrainingError",
    "Warn",
    "Workspace",
    "absorb",
    "edit",
    "evaluate",
    "generate",
    "learn",
    "mix",
    "resume",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module `cavtool` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
