"""What a list remembers makes it faster and never wrong."""

import json
import tomllib
from pathlib import Path

import pytest

from cavtool.registry.known import remembering

A, B = 'name = "a"\n[files]\n"w" = "1"\n', "rank = 4\nlr = 1e-3\n"


def read(file: Path, *texts: str) -> list[dict[str, object]]:
    with remembering(file) as loads:
        return [loads(text) for text in texts]


def test_a_text_is_remembered_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    assert read(file, A, B) == [tomllib.loads(A), tomllib.loads(B)]
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({key: {"told": "from memory"} for key in kept}))
    assert read(file, A, f"{B}# edited\n") == [{"told": "from memory"}, tomllib.loads(B)]
    assert len(json.loads(file.read_text())) == 2  # what is gone is forgotten
    assert [path.name for path in tmp_path.iterdir()] == ["known.json"]


@pytest.mark.parametrize("damage", ["", "[]", '{"half": '])
def test_a_damaged_memory_is_made_anew(tmp_path: Path, damage: str) -> None:
    (file := tmp_path / "known.json").write_text(damage)
    assert read(file, A) == [tomllib.loads(A)]
    assert list(json.loads(file.read_text()).values()) == [tomllib.loads(A)]


def test_what_cannot_be_kept_is_read_all_the_same(tmp_path: Path) -> None:
    assert read(tmp_path / "no such folder" / "known.json", A) == [tomllib.loads(A)]
    date = "day = 2026-11-22\n"
    assert read(tmp_path / "known.json", date) == [tomllib.loads(date)]
