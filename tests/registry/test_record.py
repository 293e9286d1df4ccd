from dataclasses import replace
from pathlib import Path

import pytest

from cavtool.errors import IntegrityFailure
from cavtool.registry.record import SCHEMA, Record, UsedAbsorber, from_toml, to_toml
from tests.registry.samples import DRAFT, MIX

ID = "0123456789abcdef" * 4
WHOLE = replace(
    DRAFT,
    content_id=ID,
    files={"weights.safetensors": ID},
    created="2026-11-22T14:47:34+00:00",
    tags=("slow",),
    note="a 'note'",
)


@pytest.mark.parametrize(
    "record",
    [
        WHOLE,
        replace(MIX, content_id=ID, files=WHOLE.files),
        replace(WHOLE, kind="absorber", recipe={}, metrics={}, clip=None),
        replace(WHOLE, prompt="'''\"\"\"\\ \t\n[recipe]\nname = 1\u2028é🎬"),
        replace(
            WHOLE,
            absorbers=(UsedAbsorber(name="a", kind="dual", content_id=ID, weight=0.5),),
            clip=None,
            parents=MIX.parents,
        ),
        replace(WHOLE, metrics={"tiny": 1e-300, "large": 1e30}),
    ],
)
def test_record_survives_its_text(record: Record) -> None:
    assert from_toml(to_toml(record)) == record
    assert record.short_id == "0123456789ab"


def test_whole_numbers_and_unknown_keys_are_accepted() -> None:
    text = to_toml(WHOLE).replace("start = 0.5", "start = 1").replace("fidelity = 1.0", "fidelity = 2")
    record = from_toml(text + '\n[extra]\nfrom = "a later version of schema 1"\n')
    assert record.clip is not None
    assert (record.clip.start, record.metrics["fidelity"]) == (1.0, 2.0)
    assert isinstance(record.clip.start, float)


@pytest.mark.parametrize(
    ("older", "expected"),
    [
        ("schema-1.toml", replace(WHOLE, tags=(), note="")),
        ("schema-2.toml", replace(WHOLE, tags=("dance", "slow"), note="too fast")),
    ],
)
def test_a_record_of_an_older_schema_is_migrated_as_it_is_read(older: str, expected: Record) -> None:
    text = (Path(__file__).parent / "golden" / older).read_text()
    assert "target_modules" in text
    assert from_toml(text) == expected
    assert "target_modules" not in to_toml(from_toml(text))


def test_the_known_fields_of_a_newer_schema_are_read() -> None:
    text = to_toml(WHOLE).replace(f"schema = {SCHEMA}", f"schema = {SCHEMA + 1}\nmood = 'new'")
    record = from_toml(text)
    assert record.is_newer
    assert replace(record, schema=SCHEMA) == WHOLE


def test_a_newer_schema_that_cannot_be_read_says_so() -> None:
    with pytest.raises(IntegrityFailure, match=f"schema 99, this version knows {SCHEMA}") as caught:
        from_toml("schema = 99\nall_else = 'is unknown'")
    assert caught.value.hint == "a newer version wrote it: upgrade `cav`"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (f"schema = {SCHEMA}", "", "no valid `schema`"),
        (f"schema = {SCHEMA}", f"schema = '{SCHEMA}'", "no valid `schema`"),
        (f"schema = {SCHEMA}", "schema = 0", "no valid `schema`"),
        ('tags = ["slow"]', "tags = [1]", r"no valid `tags\[0\]`"),
        ("rank = 32", "", "has no `rank`"),
        ("rank = 32", "rank = 32.0", "no valid `rank`"),
        ("rank = 32", "rank = true", "no valid `rank`"),
        ("rank = 32", "rank = ", "not TOML"),
        ("rank = 32", "rank = -32", "no valid `rank`"),
        ("rank = 32", f"rank = {'9' * 5000}", "not TOML"),
        ("rank = 32", f"rank = 0x{'f' * 5000}", "no valid `rank`"),
        ("rank = 32", f"rank = {'[' * 5000}", "not TOML"),
        ('kind = "motion"', 'kind = "dance"', "no valid `kind`"),
        ('"learned"', "['learned']", "no valid `origin`"),
        ("fidelity = 1.0", 'fidelity = "good"', "no valid `metrics`: expected `float`, got `str`"),
        ("steps = 250", "steps = [250]", "no valid `recipe`: expected"),
        ("fps = 8.0", "", "has no `clip.fps`"),
        ("[clip]", "[[clip]]", "no valid `clip`"),
        ('name = "twirl"', 'name = "../twirl"', "an invalid name"),
        ("fps = 8.0", "fps = nan", "no valid `clip.fps`: nan is not a finite number"),
        ("fps = 8.0", "fps = 0.0", "no valid `clip`: its numbers must be above 0"),
        ("width = 64", "width = -64", "no valid `clip`"),
        ("start = 0.5", "start = 1e308", "no valid `clip`"),
        ("[recipe]", "[recipe]\nnoise_from = nan", "no valid `recipe.noise_from`"),
        ("[recipe]", "[recipe]\nnoise_from = 1.5", "no valid `recipe.noise_from`"),
        ("[recipe]", "[recipe]\nnoise_from = 'half'", "no valid `recipe.noise_from`"),
        ("schema = 4", f"schema = 4\n{'a.' * 3000}a = 1", "is not TOML|nested too deeply"),
        ('"weights.safetensors"', '"../x" = "0"\n"weights.safetensors"', "an invalid name"),
        (f'content_id = "{ID}"', f'content_id = "{ID[::-1]}"', "sha256"),
        (f'content_id = "{ID}"', "", "sha256"),
        ("weights.safetensors", "weights.bin", "sha256"),
    ],
)
def test_a_damaged_record_names_the_field(before: str, after: str, message: str) -> None:
    text = to_toml(WHOLE)
    assert before in text
    with pytest.raises(IntegrityFailure, match=message):
        from_toml(text.replace(before, after, 1))


def test_a_truncated_record_is_refused() -> None:
    text = to_toml(WHOLE).strip()
    for end in range(0, len(text), 7):
        with pytest.raises(IntegrityFailure):
            from_toml(text[:end])
