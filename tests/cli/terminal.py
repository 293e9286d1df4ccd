"""A terminal for a program under test."""

import os
import subprocess

import pytest


def run_on_a_terminal(command: list[str], *, environment: dict[str, str], typed: str = "") -> tuple[str, int]:
    """Run `command` on a pseudo-terminal where `typed` and Return wait; what it shows, and its exit code."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
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
    except OSError:  # how Linux says that the other end is closed
        return b""
