"""User requests as frozen dataclasses that check their values: the same for the CLI, runs and metadata."""

from cavtool.recipes.absorb import ABSORBER_STEPS, STYLE_STEPS, Absorber, AbsorbRecipe, parse_absorber
from cavtool.recipes.blend import Blend, parse_blend
from cavtool.recipes.common import (
    DEFAULT_MODEL,
    MAX_GUIDANCE,
    MAX_RANK,
    MAX_SAMPLING_STEPS,
    AbsorberKind,
    DType,
    Layout,
)
from cavtool.recipes.edit import EditRecipe, EditStart
from cavtool.recipes.learn import LearnRecipe
from cavtool.recipes.memory import AUTO_MEMORY, NO_SAVING, MemoryOptions, Quantize
from cavtool.recipes.mix import MixRecipe
from cavtool.recipes.sample import SampleRecipe

__all__ = [
    "ABSORBER_STEPS",
    "AUTO_MEMORY",
    "DEFAULT_MODEL",
    "MAX_GUIDANCE",
    "MAX_RANK",
    "MAX_SAMPLING_STEPS",
    "NO_SAVING",
    "STYLE_STEPS",
    "AbsorbRecipe",
    "Absorber",
    "AbsorberKind",
    "Blend",
    "DType",
    "EditRecipe",
    "EditStart",
    "Layout",
    "LearnRecipe",
    "MemoryOptions",
    "MixRecipe",
    "Quantize",
    "SampleRecipe",
    "parse_absorber",
    "parse_blend",
]
