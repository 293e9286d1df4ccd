"""User requests as frozen dataclasses that check their values: the same for the CLI, runs and metadata."""

from cavtool.recipes.blend import Blend, parse_blend
from cavtool.recipes.common import DEFAULT_MODEL, DType
from cavtool.recipes.learn import AbsorberKind, LearnRecipe
from cavtool.recipes.mix import MixRecipe
from cavtool.recipes.sample import MAX_SAMPLING_STEPS, SampleRecipe

__all__ = [
    "DEFAULT_MODEL",
    "MAX_SAMPLING_STEPS",
    "AbsorberKind",
    "Blend",
    "DType",
    "LearnRecipe",
    "MixRecipe",
    "SampleRecipe",
    "parse_blend",
]
