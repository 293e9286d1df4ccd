"""A registry on a system that refuses a rename or sets the clock back."""

import errno
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from cavtool.errors import IntegrityFailure, RequirementError
from cavtool.registry import Registry, store, trash
from tests.registry.samples import put, put_over, remove, seed_of


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "assets")


def test_a_trash_on_another_disk_loses_nothing(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    put(registry.root, "twirl", 1)
    really_rename = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(self), None, str(target))
        return really_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    for act in (partial(put_over, registry.root, "twirl", 2), partial(remove, registry.root, "twirl")):
        with pytest.raises(RequirementError) as caught:
            act()
        assert caught.value.hint == "`assets` and the folders next to it, such as the trash, must be on one disk"
        assert registry.read("twirl", seed_of) == 1
    put(registry.root, "zigzag", 3)
    assert registry.names() == ["twirl", "zigzag"]
    assert [path.name for path in registry.root.iterdir() if path.name.startswith((".tmp-", ".new-"))] == []


def test_a_clock_that_stops_or_is_set_back_loses_nothing(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [datetime(2026, 11, 22, 12, minute, tzinfo=UTC) for minute in (30, 30, 29, 30)]

    class Clock(datetime):
        @classmethod
        def now(cls, _tz: object = None) -> datetime:  # type: ignore[override]
            return moments[registry.trash.exists() and len(list(registry.trash.iterdir()))]

    put(registry.root, "twirl", 0)
    monkeypatch.setattr(store, "datetime", Clock)
    for seed in (1, 2, 3):
        put_over(registry.root, "twirl", seed)
    remove(registry.root, "twirl")
    entries = trash.list_trash(registry)
    assert len(entries) == 4
    seen = set()
    for each in entries:
        seen.add(seed_of(trash.restore(registry, each.id)))
        remove(registry.root, "twirl")
    assert seen == {0, 1, 2, 3}


def test_the_trash_is_emptied_after_the_clock_was_set_back(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    put(registry.root, "twirl", 0)
    remove(registry.root, "twirl")

    class Clock(datetime):
        @classmethod
        def now(cls, _tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2020, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(trash, "datetime", Clock)
    assert [each.name for each in trash.older_than(registry, timedelta())] == ["twirl"]
    assert trash.older_than(registry, timedelta(days=1)) == []


def test_a_rename_takes_no_space(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    before = put(registry.root, "twirl", 1)
    inode = before.weights.stat().st_ino
    after = registry.rename("twirl", "spin")
    assert (after.weights.stat().st_ino, registry.read("spin", seed_of)) == (inode, 1)
    assert registry.names() == ["spin"]
    registry.remove("spin")
    assert trash.restore(registry, "spin", to="turn").weights.stat().st_ino == inode


def test_a_record_that_could_not_be_read_again_is_not_put(registry: Registry) -> None:
    with pytest.raises(IntegrityFailure, match=r"no valid `metrics.loss`: nan"):
        put(registry.root, "twirl", 1, metrics={"loss": float("nan")})
    assert registry.names() == []


@pytest.mark.parametrize(
    ("number", "part_of_the_hint"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "can write"), (errno.EROFS, "can write")],
)
def test_the_hint_is_about_the_reason(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, number: int, part_of_the_hint: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(store, "copy_file", refuse)
    with pytest.raises(RequirementError) as caught:
        put(registry.root, "twirl", 1)
    assert part_of_the_hint in (caught.value.hint or "")
    assert ("space" in (caught.value.hint or "")) == (number == errno.ENOSPC)
