"""Verification of a registry that other processes change at the same time."""

from pathlib import Path

import pytest

from cavtool.errors import NotFound
from cavtool.registry import Registry
from cavtool.registry.verify import check, quarantine, verify_assets
from tests.registry.samples import put


def test_an_asset_removed_meanwhile_is_skipped(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "assets")
    for seed, name in enumerate(("first", "second")):
        put(registry.root, name, seed)
    for name in ("first", "second"):
        (registry.root / name / "unknown").touch()
    findings = check(registry, ["first", "second"])
    assert next(findings).name == "first"
    registry.remove("second")
    assert list(findings) == []
    with pytest.raises(NotFound):
        list(check(registry, ["second"]))


def test_an_asset_repaired_or_removed_meanwhile_is_not_moved(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "assets")
    weights = put(registry.root, "twirl", 1).weights
    content = weights.read_bytes()
    weights.write_bytes(b"other")
    assert [finding.name for finding in check(registry, ["twirl"])] == ["twirl"]
    weights.write_bytes(content)
    assert quarantine(registry, "twirl") is None
    registry.remove("twirl")
    assert quarantine(registry, "twirl") is None
    assert not registry.quarantine.exists()


def test_repair_moves_damaged_assets_and_reports_the_rest(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "assets")
    put(registry.root, "good", 1)
    put(registry.root, "bad", 2).weights.write_bytes(b"other")
    found = verify_assets(registry)
    assert (found.damaged, found.remaining, found.intact, found.moved) == ({"bad"}, {"bad"}, 1, {})
    repaired = verify_assets(registry, ["bad", "good"], repair=True)
    assert (repaired.damaged, repaired.remaining, repaired.intact) == ({"bad"}, set(), 1)
    assert repaired.moved["bad"].parent == registry.quarantine
    assert registry.names() == ["good"]
