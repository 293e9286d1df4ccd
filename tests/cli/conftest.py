"""The real program in a process of its own, with a CAV_HOME of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.terminal import run_on_a_terminal

Cav = Callable[..., subprocess.CompletedProcess[str]]
OnTerminal = Callable[..., tuple[str, int]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "CAV_DEBUG"}}
    return {**kept, "CAV_HOME": str(home), "PYTHONWARNINGS": "error", "COLUMNS": "100", "TERM": "xterm-256color"}


@pytest.fixture
def cav(environment: dict[str, str]) -> Cav:
    """`cav("list", "--json", env={...})`: run it without a terminal."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cavtool", *arguments],
            env={**environment, **(env or {})},
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def cav_on_a_terminal(environment: dict[str, str]) -> OnTerminal:
    """`cav_on_a_terminal("rm", "twirl", typed="y")`: what the terminal shows, and the exit code."""

    def run(*arguments: str, typed: str = "", env: dict[str, str] | None = None) -> tuple[str, int]:
        command = [sys.executable, "-m", "cavtool", *arguments]
        return run_on_a_terminal(command, environment={**environment, **(env or {})}, typed=typed)

    return run
