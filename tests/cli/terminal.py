"""Pseudo-terminals for programs and shells under test."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest


def run_on_terminal(command: list[str], *, environment: dict[str, str], typed: str = "") -> tuple[str, int]:
    """Run `command` on a pseudo-terminal with `typed` and Return as input; returns its output and exit code."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        os.write(ours, f"{typed}\n".encode())
        screen = b""
        while part := _read(ours):
            screen += part
        return screen.decode().replace("\r\n", "\n"), process.wait(timeout=60)
    finally:
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux, if the other end is closed
        return b""


class Shell:
    """A shell on a pseudo-terminal; a program `cav` that runs the code under test is written to `folder`."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        import pty

        (folder / "cav").write_text(f'#!/bin/sh\nexec {sys.executable} -m cavtool "$@"\n')
        (folder / "cav").chmod(0o755)
        self.ours, self.theirs = pty.openpty()
        path = f"{folder}{os.pathsep}{environment['PATH']}"
        # fish needs a controlling terminal: the first one that the leader of a session opens.
        leader = ["sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(self.theirs), *command]
        self.process = subprocess.Popen(
            leader, env={**environment, "PATH": path, "TERM": "dumb"}, start_new_session=True
        )

    def type(self, text: str, until: str, seconds: float = 30) -> str:
        """Type `text`; returns the output up to the text `until`."""
        os.write(self.ours, text.encode())
        shown, end = "", time.monotonic() + seconds
        while until not in shown:
            if not select.select([self.ours], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {until!r} in {shown!r}")
            shown += os.read(self.ours, 65536).decode(errors="replace")
        return shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)
