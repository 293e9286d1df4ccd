import dataclasses
from typing import Any

import pytest

from cavtool.errors import InvalidInput
from cavtool.names import is_name
from cavtool.recipes import Absorber, AbsorberKind, Blend, DType, LearnRecipe, SampleRecipe, parse_absorber, parse_blend
from cavtool.schema import read, to_table


@pytest.mark.parametrize(
    ("text", "blend"),
    [
        ("twirl", Blend("twirl")),
        ("twirl:0.7", Blend("twirl", 0.7)),
        ("twirl:-1", Blend("twirl", -1.0)),
        ("twirl:1e-3", Blend("twirl", 1e-3)),
        (" twirl:.5 ", Blend("twirl", 0.5)),
        ("a:b", Blend("a:b")),
        ("a:b:2", Blend("a:b", 2.0)),
        ("twirl:", Blend("twirl:")),
    ],
)
def test_a_blend_is_a_name_and_a_weight_after_the_last_colon(text: str, blend: Blend) -> None:
    assert parse_blend(text) == blend
    assert parse_blend(str(blend)) == blend


@pytest.mark.parametrize("text", ["", ":0.7", "twirl:1e999"])
def test_an_invalid_blend_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_blend(text)


@pytest.mark.parametrize(
    ("text", "absorber", "is_file"),
    [
        ("twirl-look", Absorber("twirl-look"), False),
        ("twirl-look:0.7", Absorber("twirl-look", 0.7), False),
        ("style.safetensors:-1", Absorber("style.safetensors", -1.0), True),
        ("./style", Absorber("./style"), True),
        (r"C:\x\style.pt:2", Absorber(r"C:\x\style.pt", 2.0), True),
        ("C:/style.pt", Absorber("C:/style.pt"), True),
    ],
)
def test_an_absorber_is_a_name_or_a_file_and_a_weight(text: str, absorber: Absorber, is_file: bool) -> None:
    assert parse_absorber(text) == absorber
    assert parse_absorber(str(absorber)) == absorber
    assert absorber.is_file == is_file
    with pytest.raises(InvalidInput):
        parse_absorber(":0.7")


@pytest.mark.parametrize(
    "recipe",
    [
        LearnRecipe(absorbers=(Absorber("a", 0.5, "f" * 64, "dual"),)),
        LearnRecipe(start=1.5, absorber_kind=AbsorberKind.TEXTINV, dtype=DType.BF16, model="some/folder"),
    ],
)
def test_a_learn_recipe_survives_its_table(recipe: LearnRecipe) -> None:
    assert read(to_table(recipe), LearnRecipe, "it") == recipe


def test_a_sample_recipe_survives_its_table_and_other_keys() -> None:
    recipe = SampleRecipe(
        "ironman", (Blend("twirl", 0.7, "f" * 64),), seed=3, revision="r" * 12, styles=(Absorber("a", 0.5),)
    )
    assert read(to_table(recipe) | {"cav": "0.1.0"}, SampleRecipe, "it") == recipe


@pytest.mark.parametrize(
    "values",
    [{"prompt": 3}, {"steps": 2.5}, {"model": ["cav-mini"]}, {"dtype": "fp8"}, {"motions": [{"weight": 0.7}]}],
)
def test_an_invalid_recipe_in_a_file_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"the recipe in `v\.mp4` has no "):
        read(to_table(SampleRecipe("ironman")) | values, SampleRecipe, "the recipe in `v.mp4`", error=InvalidInput)


def test_the_longest_name_has_a_valid_absorber_name() -> None:
    assert all(is_name(name) for name in LearnRecipe().leaves("a" * 64))


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"steps": 501},
        {"num_videos": 0},
        {"seed": -1},
        {"seed": -1, "num_videos": 2},
        {"seed": 2**63 - 1, "num_videos": 2},
        {"guidance": float("nan")},
        {"prompt": " "},
    ],
)
def test_a_sample_recipe_out_of_range_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        dataclasses.replace(SampleRecipe("ironman"), **values)


@pytest.mark.parametrize(
    "values",
    [
        {"duration": float("inf")},
        {"start": float("nan")},
        {"lr": 0.0},
        {"absorber_lr": -1.0},
        {"batch_size": 0},
        {"seed": 2**63},
    ],
)
def test_a_learn_recipe_out_of_range_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        LearnRecipe(**values)


def test_an_absorber_is_left_if_one_is_trained() -> None:
    assert LearnRecipe().leaves("twirl") == ("twirl", "twirl-look")
    assert LearnRecipe(absorber_kind=AbsorberKind.NONE).leaves("twirl") == ("twirl",)
    assert LearnRecipe(absorbers=(Absorber("a"),)).leaves("twirl") == ("twirl",)
