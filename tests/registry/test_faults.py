"""A registry on a system that refuses a rename or sets the clock back."""

import errno
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from cavtool.errors import RequirementError
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
