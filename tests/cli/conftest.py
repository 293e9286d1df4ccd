"""`cav` in this process or in a new one, with a new CAV_HOME for every test."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ffmpeg
import pytest

from cavtool.cli.app import main
from cavtool.video import ffmpeg_exe
from tests.cli.terminal import run_on_terminal

UNSET = ("NO_COLOR", "FORCE_COLOR", "CAV_DEBUG")


class Finished(NamedTuple):
    """The exit code and the output of a command."""

    returncode: int
    stdout: str
    stderr: str


Cav = Callable[..., Finished]
OnTerminal = Callable[..., tuple[str, int]]


@pytest.fixture
def settings(home: Path) -> dict[str, str]:
    """The environment variables that all these tests set."""
    return {"CAV_HOME": str(home), "PYTHONWARNINGS": "error", "COLUMNS": "100", "TERM": "xterm-256color"}


@pytest.fixture
def environment(settings: dict[str, str]) -> dict[str, str]:
    """The environment of a process."""
    return {**{name: value for name, value in os.environ.items() if name not in UNSET}, **settings}


@pytest.fixture
def cav(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cav:
    """`cav("list", "--json", env={...})` calls the program in this process, without a terminal."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> Finished:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name in UNSET:
                patch.delenv(name, raising=False)
            for name, value in {**settings, **(env or {})}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["cav", *arguments])
            patch.setattr(sys, "stdin", io.StringIO())
            with pytest.raises(SystemExit) as ended:
                main()
        return Finished(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def cav_process(environment: dict[str, str]) -> Cav:
    """The same in a new process."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "cavtool", *arguments],
            env={**environment, **(env or {})},
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def cav_on_terminal(environment: dict[str, str]) -> OnTerminal:
    """`cav_on_terminal("rm", "twirl", typed="y")` returns what the terminal shows, and the exit code."""

    def run(*arguments: str, typed: str = "", env: dict[str, str] | None = None) -> tuple[str, int]:
        command = [sys.executable, "-m", "cavtool", *arguments]
        return run_on_terminal(command, environment={**environment, **(env or {})}, typed=typed)

    return run


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of two seconds."""
    path = tmp_path / "clip.mp4"
    source = ffmpeg.input("testsrc=size=64x64:rate=8:duration=2", format="lavfi")
    source.output(str(path), pix_fmt="yuv420p").run(cmd=ffmpeg_exe(), quiet=True)
    return path
