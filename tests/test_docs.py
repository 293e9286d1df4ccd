"""The documentation names files that exist."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("document", "folder"),
    [("cavtool/README.md", "cavtool"), ("README.md", "."), (".github/CONTRIBUTING.md", ".")],
)
def test_every_path_in_a_document_exists(document: str, folder: str) -> None:
    text = (TOP / document).read_text(encoding="utf-8")
    paths = re.findall(r"`([\w.-]+(?:/[\w.-]+)+)`", text) + re.findall(r"\]\(([\w./-]+)\)", text)
    assert paths
    assert [path for path in paths if not any((TOP / place / path).exists() for place in (folder, "."))] == []


def test_every_module_that_a_document_runs_exists() -> None:
    for document in ("cavtool/README.md", "README.md", ".github/CONTRIBUTING.md"):
        for module in re.findall(r"python -m ((?:cavtool|tests)[\w.]*)", (TOP / document).read_text(encoding="utf-8")):
            place = TOP / module.replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), (document, module)
