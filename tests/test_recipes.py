import dataclasses
import random
from typing import Any

import pytest

from cavtool.errors import InvalidInput
from cavtool.names import is_name
from cavtool.recipes import (
    Absorber,
    AbsorberKind,
    Blend,
    DType,
    LearnRecipe,
    MixRecipe,
    SampleRecipe,
    parse_absorber,
    parse_blend,
)
from cavtool.schema import read, to_table


@pytest.mark.parametrize(
    ("text", "blend"),
    [
        ("twirl", Blend("twirl")),
        ("twirl:0.7", Blend("twirl", 0.7)),
        ("twirl:-1", Blend("twirl", -1.0)),
        ("twirl:1e-3", Blend("twirl", 1e-3)),
        (" twirl:.5 ", Blend("twirl", 0.5)),
        ("twirl@0-0.5", Blend("twirl", window=(0.0, 0.5))),
        ("twirl:0.7@.25-1", Blend("twirl", 0.7, window=(0.25, 1.0))),
        ("twirl@1e-3-1", Blend("twirl", window=(0.001, 1.0))),
    ],
)
def test_a_blend_is_a_name_and_a_weight_after_the_colon(text: str, blend: Blend) -> None:
    assert parse_blend(text) == blend
    assert parse_blend(str(blend)) == blend


def test_every_blend_is_its_own_text_parsed() -> None:
    draw = random.Random(0)
    names = ("twirl", "dolly_zoom", "a-2", "0-1")
    for _ in range(2000):
        weight = draw.choice(
            (1.0, -1.0, 0.0, 0.7, draw.uniform(-2, 2), draw.uniform(-1, 1) * 10 ** draw.randint(-9, 2))
        )
        start, end = sorted((draw.choice((0.0, draw.random())), draw.choice((1.0, draw.random()))))
        blend = Blend(draw.choice(names), weight, window=draw.choice((None, (start, end))))
        assert parse_blend(str(blend)) == blend


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a motion needs a name"),
        (":0.7", "a motion needs a name"),
        ("@0-1", "a motion needs a name"),
        ("a:b", "the weight of `a` must be a number, not `b`"),
        ("a:b:2", "the weight of `a` must be a number, not `b:2`"),
        ("twirl:", "the weight of `twirl` must be a number, not ``"),
        ("twirl:1,5", "the weight of `twirl` must be a number, not `1,5`"),
        ("twirl:1_0", "the weight of `twirl` must be a number"),
        ("twirl:1e30", "the weight of `twirl` must be from -100 to 100"),
        ("twirl@home", "the window of `twirl` must be two numbers with a `-` between them, not `home`"),
        ("a:2@0-1:1", "the window of `a` must be two numbers"),
        ("twirl:1e999", "weight of `twirl` must be a finite number"),
        ("twirl:nan", "weight of `twirl` must be a finite number"),
        ("twirl:-inf", "weight of `twirl` must be a finite number"),
        ("twirl@0.5-0.2", "the window of `twirl` must be from 0 to 1"),
        ("twirl@0.5-0.5", "the window of `twirl` must be from 0 to 1"),
        ("twirl@-0.1-0.5", "the window of `twirl` must be from 0 to 1"),
        ("twirl@0-1.5", "the window of `twirl` must be from 0 to 1"),
        ("twirl@nan-1", "the window of `twirl` must be from 0 to 1"),
        ("twirl:0.7@", "the window of `twirl` must be two numbers"),
        ("twirl@0.5", "the window of `twirl` must be two numbers"),
        ("twirl@0-0.5-1", "the window of `twirl` must be two numbers"),
    ],
)
def test_an_invalid_blend_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_blend(text)


def test_a_mix_keeps_its_motions_and_rank() -> None:
    motions = tuple(map(parse_blend, ("twirl", "zoom:-0.7", *(f"m{n}:{n}" for n in range(1, 9)))))
    recipe = MixRecipe(motions, rank=8)
    assert (recipe.motions, recipe.rank) == (motions, 8)
    assert read(to_table(recipe), MixRecipe, "it") == recipe


@pytest.mark.parametrize(
    ("motions", "rank", "message"),
    [
        ("", None, "a mix needs at least two motions"),
        ("twirl", None, "a mix needs at least two motions"),
        ("twirl zoom twirl:0.5", None, "`twirl` is named twice"),
        ("twirl zoom:0", None, "the weight of `zoom` is 0"),
        ("twirl zoom@0-0.5", None, "`zoom` cannot have a window in a mix"),
        ("twirl zoom", 0, "`--rank` must be at least 1"),
    ],
)
def test_an_invalid_mix_is_refused(motions: str, rank: int | None, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        MixRecipe(tuple(map(parse_blend, motions.split())), rank)


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
    ("text", "message"),
    [
        ("twirl-look@0-0.5", "`twirl-look` cannot have a window"),
        ("twirl-look:0.7@0-0.5", "`twirl-look` cannot have a window"),
        ("twirl-look:", "the weight of `twirl-look` must be a number, not ``"),
        ("twirl-look:1,5", "the weight of `twirl-look` must be a number, not `1,5`"),
        ("style.safetensors:much", "the weight of `style.safetensors` must be a number"),
        ("twirl-look:nan", "the weight of `twirl-look` must be a finite number"),
        ("twirl-look:1e30", "the weight of `twirl-look` must be from -100 to 100"),
    ],
)
def test_an_invalid_absorber_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_absorber(text)


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
    motions = (Blend("twirl", 0.7, "f" * 64), Blend("zoom", window=(0.0, 0.5)))
    recipe = SampleRecipe("ironman", motions, seed=3, revision="r" * 12, styles=(Absorber("a", 0.5),))
    assert read(to_table(recipe) | {"cav": "0.1.0"}, SampleRecipe, "it") == recipe


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": 3},
        {"steps": 2.5},
        {"model": ["cav-mini"]},
        {"dtype": "fp8"},
        {"motions": [{"weight": 0.7}]},
        {"motions": [{"name": "twirl", "window": [1, 0]}]},
    ],
)
def test_an_invalid_recipe_in_a_file_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"the recipe in `v\.mp4` has no "):
        read(to_table(SampleRecipe("ironman")) | values, SampleRecipe, "the recipe in `v.mp4`", error=InvalidInput)


def test_a_name_leaves_room_for_that_of_its_absorber() -> None:
    assert all(is_name(name) for name in LearnRecipe().leaves("a" * 59))
    with pytest.raises(InvalidInput, match="too long: its absorber is named like it"):
        LearnRecipe().leaves("a" * 55 + "-look")
    assert LearnRecipe(absorber_kind=AbsorberKind.NONE).leaves("a" * 64) == ("a" * 64,)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"steps": 501},
        {"num_videos": 0},
        {"num_videos": 10**9},
        {"scale": 0},
        {"guidance": 1e9},
        {"seed": -1},
        {"seed": -1, "num_videos": 2},
        {"seed": 2**63 - 1, "num_videos": 2},
        {"guidance": float("nan")},
        {"prompt": " "},
        {"negative": "🐈" * 3000},
        {"motions": (Blend("twirl"),) * 33},
        {"styles": (Absorber("twirl-look"),) * 33},
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
        {"lr": 1e38},
        {"absorber_lr": -1.0},
        {"batch_size": 0},
        {"recolour": -1},
        {"recolour": 257},
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
