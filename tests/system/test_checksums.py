import hashlib
import json
import os
from pathlib import Path

import pytest

from cavtool.models import Model
from cavtool.system import checksums
from cavtool.system.checksums import CACHE_FILE, file_sha256


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on; no checksum has been computed yet."""
    names: list[str] = []
    digest = hashlib.file_digest

    def recording(file: object, algorithm: str) -> object:
        names.append(Path(file.name).name)  # type: ignore[attr-defined]
        return digest(file, algorithm)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", recording)
    monkeypatch.setattr(checksums, "computed", {})
    return names


def forget() -> None:
    """Forget the checksums of this process, as if it were a new one."""
    checksums.computed.clear()


def write(file: Path, content: bytes, time: int) -> str:
    file.write_bytes(content)
    os.utime(file, ns=(time, time))
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once_in_a_process_and_again_when_it_has_changed(tmp_path: Path, computed: list[str]) -> None:
    file = tmp_path / "weights"
    expected = write(file, b"one", 1)
    assert [file_sha256(file) for _ in range(3)] == [expected] * 3
    assert computed == ["weights"]
    expected = write(file, b"two", 2)  # the same size, another time
    assert file_sha256(file) == expected
    expected = write(file, b"three", 2)  # the same time, another size
    assert file_sha256(file) == expected
    assert computed == ["weights"] * 3


def test_a_cache_folder_serves_other_processes(tmp_path: Path, computed: list[str]) -> None:
    file, cache = tmp_path / "weights", tmp_path / "new" / "cache"
    expected = write(file, b"one", 1)
    for _ in range(3):
        assert file_sha256(file, cache) == expected
        forget()
    assert computed == ["weights"]
    other = write(tmp_path / "other", b"more", 1)
    assert file_sha256(tmp_path / "other", cache) == other
    assert len(json.loads((cache / CACHE_FILE).read_text())) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"PATH": "PATH"}', b'{"PATH": [3, 1]}'])
def test_a_damaged_cache_is_ignored_and_replaced(tmp_path: Path, computed: list[str], content: bytes) -> None:
    file = tmp_path / "weights"
    expected = write(file, b"one", 1)
    (tmp_path / CACHE_FILE).write_bytes(content.replace(b"PATH", str(file).encode()))
    for _ in range(2):
        assert file_sha256(file, tmp_path) == expected
        forget()
    assert computed == ["weights"]


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    expected = write(file, b"one", 1)
    assert file_sha256(file, file / "not a folder") == expected


def test_the_revision_of_a_model_is_cached(modelscope: Path, tmp_path: Path, computed: list[str]) -> None:
    revisions = set()
    for _ in range(2):
        revisions.add(Model("m", modelscope, tmp_path).revision)
        forget()
    assert len(revisions) == 1
    assert computed == ["diffusion_pytorch_model.safetensors"]
