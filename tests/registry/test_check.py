"""Whether a registry is as it was written, while others change it."""

from dataclasses import replace
from pathlib import Path

import pytest

from cavtool.errors import NotFound
from cavtool.registry import Registry
from cavtool.registry.check import check
from tests.registry.samples import DRAFT, sources


def test_what_is_removed_meanwhile_is_passed_over(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "assets")
    for seed, name in enumerate(("first", "second")):
        registry.put(replace(DRAFT, name=name), sources(tmp_path / name, seed))
    for name in ("first", "second"):
        (registry.root / name / "stranger").touch()
    findings = check(registry, ["first", "second"])
    assert next(findings).name == "first"
    registry.remove("second")
    assert list(findings) == []
    with pytest.raises(NotFound):
        list(check(registry, ["second"]))
