"""A registry with shared folders."""

from pathlib import Path

import pytest

from cavtool.errors import Conflict, NotFound
from cavtool.registry import Registry
from tests.registry.samples import put, seed_of


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """`twirl` in the user's own folder and in both shared ones, `zoom` in both shared ones, `swing` in the last."""
    mine, team, lab = (tmp_path / name / "assets" for name in ("mine", "team", "lab"))
    for place, name, seed in (
        (mine, "twirl", 1),
        (team, "twirl", 2),
        (team, "zoom", 3),
        (lab, "twirl", 4),
        (lab, "zoom", 5),
        (lab, "swing", 6),
    ):
        put(place, name, seed)
    return Registry(mine, shared=[team, lab, tmp_path / "nowhere"])


def test_an_earlier_folder_hides_the_same_name_in_later_ones(registry: Registry) -> None:
    assert registry.names() == ["swing", "twirl", "zoom"]
    assert [seed_of(registry.get(name)) for name in registry.names()] == [6, 1, 3]
    assert [asset.record.name for asset in registry.list()] == registry.names()
    assert registry.own_names() == ["twirl"]
    team, lab, _ = registry.shared
    assert registry.hidden() == [("twirl", team), ("twirl", lab), ("zoom", lab)]


def test_a_shared_asset_cannot_be_changed(registry: Registry) -> None:
    for change in (
        lambda: registry.remove("zoom"),
        lambda: registry.rename("zoom", "mine"),
        lambda: registry.annotate("zoom", note="mine"),
        lambda: registry.set_aside("zoom"),
    ):
        with pytest.raises(Conflict, match="`zoom` is shared") as caught:
            change()
        assert caught.value.hint == "`cav cp zoom NEW-NAME` makes a copy of your own"
    with pytest.raises(NotFound):
        registry.remove("zom")
    assert registry.own_names() == ["twirl"]


def test_a_copy_of_a_shared_asset_is_not_shared(registry: Registry) -> None:
    registry.copy("zoom", "mine")
    registry.copy("swing", "swing-2")
    assert registry.own_names() == ["mine", "swing-2", "twirl"]
    assert seed_of(registry.get("mine")) == 3


def test_a_shared_name_is_free_in_the_users_own_folder(registry: Registry) -> None:
    registry.check_free("zoom")
    put(registry.root, "zoom", seed=7)
    assert seed_of(registry.get("zoom")) == 7
    registry.remove("zoom")
    assert seed_of(registry.get("zoom")) == 3


def test_a_broken_own_asset_still_hides_a_shared_one(registry: Registry) -> None:
    (registry.root / "twirl" / "record.toml").write_text("")
    assert [name for name, _ in registry.broken()] == ["twirl"]


def test_nothing_is_written_to_shared_folders(registry: Registry) -> None:
    before = [sorted(place.rglob("*")) for place in registry.shared]
    registry.list()
    registry.copy("zoom", "mine")
    registry.verify("swing")
    assert [sorted(place.rglob("*")) for place in registry.shared] == before
