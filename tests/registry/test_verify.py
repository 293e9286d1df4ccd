"""Verifying a registry while other processes change it."""

from pathlib import Path

import pytest

from cavtool.errors import NotFound
from cavtool.registry import Registry
from cavtool.registry.verify import check, set_aside
from tests.registry.samples import put


def test_an_asset_removed_meanwhile_is_skipped(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "assets")
    for seed, name in enumerate(("first", "second")):
        put(registry.root, name, seed)
    for name in ("first", "second"):
        (registry.root / name / "stranger").touch()
    findings = check(registry, ["first", "second"])
    assert next(findings).name == "first"
    registry.remove("second")
    assert list(findings) == []
    with pytest.raises(NotFound):
        list(check(registry, ["second"]))


def test_an_asset_repaired_or_removed_meanwhile_is_not_moved(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "assets")
    weights = put(registry.root, "twirl", 1).weights
    whole = weights.read_bytes()
    weights.write_bytes(b"other")
    assert [finding.name for finding in check(registry, ["twirl"])] == ["twirl"]
    weights.write_bytes(whole)
    assert set_aside(registry, "twirl") is None
    registry.remove("twirl")
    assert set_aside(registry, "twirl") is None
    assert not registry.quarantine.exists()
