"""The streams and signals of a `cav` process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cavtool.__main__ import main as start
from cavtool.cli import streams
from cavtool.cli.output import Output
from cavtool.events import Terminated
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav, OnTerminal

CAV = f"{sys.executable} -m cavtool"
posix = pytest.mark.skipif(os.name == "nt", reason="uses a POSIX shell")


def in_shell(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], env=environment, capture_output=True, encoding="utf-8", check=False)


@posix
@pytest.mark.parametrize(("closed", "shown"), [("<&-", True), (">&-", False), ("2>&-", True), ("<&- >&- 2>&-", False)])
def test_closed_streams_change_nothing(environment: dict[str, str], home: Path, closed: str, shown: bool) -> None:
    put_motion(home, "twirl")
    done = in_shell(f"{CAV} list {closed}", environment)
    assert (done.returncode, done.stderr, "twirl" in done.stdout) == (0, "", shown)
    assert in_shell(f"{CAV} note twirl hello {closed}", environment).returncode == 0
    assert "hello" in (home / "data" / "assets" / "twirl" / "record.toml").read_text()
    assert in_shell(f"{CAV} show twril {closed}", environment).returncode == 3


@posix
def test_a_deleted_folder_and_a_home_that_is_a_file_are_named(
    cav: Cav, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_motion(home, "twirl")
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = cav("export", "twirl")
    monkeypatch.chdir(tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (6, "error: the current folder has been deleted")
    (file := tmp_path / "file").touch()
    for command in (("list",), ("runs", "list"), ("config", "list"), ("prune",)):
        done = cav(*command, env={"CAV_HOME": str(file)})
        assert (done.returncode, "which is not a folder" in done.stderr) == (2, True), command


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device on this system")
@pytest.mark.parametrize(
    "line", ["list", "list --json", "cp twirl copied --force", "--help", "show twril --json", "list -q"]
)
def test_a_full_stdout_has_its_own_code(environment: dict[str, str], home: Path, line: str) -> None:
    put_motion(home, "twirl")
    done = in_shell(f"{CAV} {line} > /dev/full", environment)
    assert "No space left on device" in done.stderr or "no motion or absorber" in done.stderr
    assert (done.returncode, "Traceback" in done.stderr) == (3 if "twril" in line else 6, False)
    assert in_shell(f"{CAV} {line} 2> /dev/full", environment).returncode == (3 if "twril" in line else 0)


@posix
def test_a_closed_pipe_ends_the_command_quietly(environment: dict[str, str], home: Path) -> None:
    put_motion(home, "twirl")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [*CAV.split(), "list"], env=environment, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_text_that_the_pipe_cannot_hold_is_escaped(cav_process: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    cav_process("note", "twirl", "→ 狮子")
    done = cav_process("note", "twirl", env={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stdout) == (0, "\\u2192 \\u72ee\\u5b50\n")


def test_the_home_of_an_unknown_user_is_refused(cav: Cav) -> None:
    done = cav("list", env={"CAV_HOME": "~nobody-at-all"})
    assert done == (
        2,
        "",
        "error: `CAV_HOME` is `~nobody-at-all`, the home of an unknown user\nhint: set it to a folder\n",
    )


@posix
def test_a_signal_ends_a_command_in_one_line_and_leaves_no_files(environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "made"
    command = [*CAV.split(), "generate", "a red cat", "--steps", "500", "-o", f"{out}/"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("[1/1] sampling"):
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert (process.returncode, "Traceback" in rest) == (143, False)
    assert rest.splitlines()[-1] == "error: ended by another process"
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("signalled", "code"), [(KeyboardInterrupt(), 130), (Terminated(signal.SIGTERM), 143)])
def test_a_signal_while_the_program_loads_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, signalled: KeyboardInterrupt, code: int
) -> None:
    def interrupted() -> None:
        raise signalled

    monkeypatch.setattr(streams, "open_closed_streams", interrupted)
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == code


def test_a_dumb_terminal_gets_no_colours(cav_on_terminal: OnTerminal, home: Path) -> None:
    assert "\x1b" in cav_on_terminal("show", "nothing")[0]
    assert "\x1b" not in cav_on_terminal("show", "nothing", env={"TERM": "dumb"})[0]


def test_a_message_is_one_printable_line(cav: Cav, home: Path) -> None:
    put_motion(home, "twirl")
    record = home / "data" / "assets" / "twirl" / "record.toml"
    record.write_text(record.read_text().replace('base_model = "cav-mini"', 'base_model = "x\\u001b[31m\\nerror: no"'))
    done = cav("generate", "a cat", "-m", "twirl")
    assert "\x1b" not in done.stderr
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert "\x1b" not in cav("list").stdout


def test_numbers_that_are_not_finite_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    with Output("x", json=True) as out:
        out.result({"a": [float("nan"), {"b": float("-inf")}], "c": 1.5}, ())
    assert json.loads(capsys.readouterr().out)["data"] == {"a": [None, {"b": None}], "c": 1.5}
