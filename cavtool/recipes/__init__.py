"""What a user asks for, as frozen dataclasses: checked when they are made, the same for the CLI, runs and metadata."""

from cavtool.recipes.blend import Blend, parse_blend
from cavtool.recipes.common import DEFAULT_MODEL, DType
from cavtool.recipes.edit import EditRecipe, EditStart
from cavtool.recipes.learn import AbsorberKind, LearnRecipe
from cavtool.recipes.sample import MAX_SAMPLING_STEPS, SampleRecipe

__all__ = [
    "DEFAULT_MODEL",
    "MAX_SAMPLING_STEPS",
    "AbsorberKind",
    "Blend",
    "DType",
    "EditRecipe",
    "EditStart",
    "LearnRecipe",
    "SampleRecipe",
    "parse_blend",
]
