"""Removed assets can be restored."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cavtool.errors import Conflict, IntegrityFailure, NotFound
from cavtool.registry import Registry
from cavtool.registry.trash import empty, list_trash, older_than, restore
from tests.registry.samples import put, seed_of


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Versions 1 and 2 of `twirl` are in the trash, version 3 in the registry; `zoom-2` was removed last."""
    registry = Registry(tmp_path / "assets")
    for seed in (1, 2, 3):
        put(registry.root, "twirl", seed, replace_it=True)
    put(registry.root, "zoom-2", seed=4)
    registry.remove("zoom-2")
    return registry


def test_a_missing_trash_is_empty(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "assets")
    assert (list_trash(registry), empty(registry, [])) == ([], [])
    assert not registry.root.exists()
    with pytest.raises(NotFound, match="nothing named `twirl` in the trash"):
        restore(registry, "twirl")


def test_the_newest_comes_first(registry: Registry) -> None:
    entries = list_trash(registry)
    assert [entry.name for entry in entries] == ["zoom-2", "twirl", "twirl"]
    assert abs(datetime.now(UTC) - entries[0].removed) < timedelta(minutes=1)
    assert entries[0].id.startswith("zoom-2-20")
    assert entries[0].size > 30_000


def test_a_name_restores_the_latest_and_an_id_any(registry: Registry) -> None:
    assert seed_of(restore(registry, "zoom-2")) == 4
    with pytest.raises(Conflict) as caught:
        restore(registry, "twirl")
    assert caught.value.hint == "give it another name with `--as NAME`"
    assert len(list_trash(registry)) == 2
    oldest = list_trash(registry)[-1].id
    back = restore(registry, oldest, to="first")
    assert (seed_of(back), back.record.name) == (1, "first")
    registry.remove("twirl")
    assert seed_of(restore(registry, "twirl")) == 3
    assert [seed_of(registry.get(name)) for name in registry.names()] == [1, 3, 4]
    assert [entry.name for entry in list_trash(registry)] == ["twirl"]


def test_an_unreadable_entry_stays_in_the_trash(registry: Registry) -> None:
    (list_trash(registry)[0].folder / "record.toml").write_text("")
    with pytest.raises(IntegrityFailure):
        restore(registry, "zoom-2")
    assert list_trash(registry)[0].name == "zoom-2"


def test_a_damaged_or_newer_entry_is_restored_under_its_own_name_only(registry: Registry) -> None:
    record = list_trash(registry)[0].folder / "record.toml"
    text = record.read_text()
    record.write_text(text.replace("schema = 4", "schema = 5\nmood = 'new'"))
    with pytest.raises(IntegrityFailure, match="newer `cav`"):
        restore(registry, "zoom-2", to="other")
    record.write_text(text)
    weights = record.with_name("weights.safetensors")
    weights.write_bytes(weights.read_bytes() + b"more")
    with pytest.raises(IntegrityFailure, match="does not match its checksum"):
        restore(registry, "zoom-2", to="other")
    assert list_trash(registry)[0].name == "zoom-2"


def test_a_close_name_is_offered(registry: Registry) -> None:
    with pytest.raises(NotFound) as caught:
        restore(registry, "zoom-3")
    assert caught.value.hint == "did you mean `zoom-2`?"


def test_emptying_by_age_keeps_younger_entries(registry: Registry) -> None:
    latest = list_trash(registry)[0].folder
    latest.rename(latest.with_name("zoom-2-20200101-000000-000000"))
    (registry.trash / ".tmp-half").mkdir()
    (registry.trash / "unrelated").mkdir()
    (registry.trash / "b-99999999-999999-999999").mkdir()
    assert [entry.name for entry in older_than(registry, timedelta(days=30))] == ["zoom-2"]
    assert [entry.name for entry in empty(registry, older_than(registry, timedelta(days=30)))] == ["zoom-2"]
    assert [entry.name for entry in list_trash(registry)] == ["twirl", "twirl"]
    empty(registry, list_trash(registry))
    assert sorted(path.name for path in registry.trash.iterdir()) == ["b-99999999-999999-999999", "unrelated"]
    assert registry.names() == ["twirl"]


def test_an_entry_added_after_the_choice_is_not_deleted(registry: Registry) -> None:
    chosen = list_trash(registry)
    registry.remove("twirl")
    assert {each.id for each in empty(registry, chosen)} == {each.id for each in chosen}
    assert restore(registry, "twirl").record.name == "twirl"


def test_a_missing_record_is_reported(registry: Registry) -> None:
    (list_trash(registry)[0].folder / "record.toml").unlink()
    for to in (None, "again"):
        with pytest.raises(IntegrityFailure, match=r"`zoom-2-.*` has no `record\.toml`"):
            restore(registry, "zoom-2", to=to)
