"""Other systems, simulated: none of this was run on Windows or macOS."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from cavtool.registry import Registry
from cavtool.system import platform
from tests.registry.samples import put
from tests.runs.samples import begin


def test_the_registry_works_if_folders_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open = os.open

    def open_no_folder(path: Any, *args: Any, **kwargs: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(platform, "CAN_OPEN_FOLDERS", False)
    monkeypatch.setattr(os, "open", open_no_folder)
    put(tmp_path / "assets", "twirl", 1)
    put(tmp_path / "assets", "twirl", 2, replace_it=True)
    Registry(tmp_path / "assets").verify("twirl")


def test_a_run_is_deleted_if_open_files_cannot_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_rename = Path.rename

    def rename_no_open_folder(self: Path, target: Path) -> Path:
        try:
            FileLock(self / "lock").acquire(timeout=0).lock.release()
        except Timeout:
            raise PermissionError(13, "Access is denied", str(self)) from None
        return really_rename(self, target)

    monkeypatch.setattr(platform, "CAN_MOVE_OPEN_FILES", False)
    monkeypatch.setattr(Path, "rename", rename_no_open_folder)
    run = begin(tmp_path, "twirl")
    run.remove()
    assert list(tmp_path.iterdir()) == []


def test_resident_memory_is_none_on_windows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    held = platform.resident_memory()
    assert held is None or held > 1_000_000
    monkeypatch.setattr(sys, "platform", "win32")
    assert platform.resident_memory() is None
    pytest.importorskip("resource")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert platform.resident_memory()


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX")
def test_a_detached_process_leads_its_own_session() -> None:
    code = "import os; print(os.getsid(0) == os.getpid())"
    done = subprocess.run(
        [sys.executable, "-c", code], **platform.DETACHED, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout == "True\n"
