"""The progress of a long command, and how it ends early."""

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cli import workflow
from tests.cli.conftest import Finished
from tests.cli.terminal import run_on_terminal

FULL = "free some space with `cav prune` or `cav trash empty`, or set `CAV_HOME` to a folder on another disk"
COMMAND = [sys.executable, "-m", "tests.cli.workflow"]
Workflow = Callable[..., Finished]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Workflow:
    """Run the workflow in this process."""

    def run(*arguments: str) -> Finished:
        capsys.readouterr()
        code: int | str | None = 0
        try:
            workflow.run(list(arguments))
        except SystemExit as ended:
            code = ended.code
        return Finished(int(code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def lines(environment: dict[str, str]) -> list[str]:
    """The lines on stderr of a process without a terminal."""
    done = subprocess.run(COMMAND, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "twirl\n"
    return done.stderr.splitlines()


def test_plain_lines_without_a_terminal(lines: list[str]) -> None:
    assert lines[:4] == [
        "[1/2] read the clip",
        "note: the busiest part begins at 1.5 s",
        "warning: no prompt",
        "[2/2] motion",
    ]
    assert [line.split()[1] for line in lines[4:]] == [f"{step}/40" for step in range(4, 41, 4)]
    first, *_, last = lines[4:]
    assert re.fullmatch(r"motion  4/40  loss 0\.\d{4}  4\.0 it/s  0:09 left  0\.\d GB", first)
    assert last.endswith("4.0 it/s  in 0:10  0.0 GB")


def test_the_loss_is_smoothed(lines: list[str]) -> None:
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", "\n".join(lines))]
    assert losses[0] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, abs=1e-4)  # the mean of the first four
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] > 2 / 40  # lags behind the last loss


def test_quiet_shows_warnings_and_errors_only(run: Workflow, environment: dict[str, str]) -> None:
    assert run("-q") == (0, "twirl\n", "warning: no prompt\n")
    failed = run("-q", "--nan").stderr
    assert failed.endswith("error: the loss is not finite at step 40\nhint: try a lower `--lr`\n")
    screen, _ = run_on_terminal([*COMMAND, "-q"], environment=environment)
    assert "motion" not in screen


def test_json_is_events_and_then_the_result(run: Workflow) -> None:
    done = run("--json")
    *events, result = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert [event["event"] for event in events[:5]] == ["stage", "note", "warning", "stage", "step"]
    assert events[4] == {"event": "step", "stage": "motion", "step": 1, "num_steps": 40, "loss": 1.0, "seconds": 0.25}
    assert result == {"schema": 1, "ok": True, "command": "learn", "data": {"name": "twirl"}, "error": None}


def test_bars_on_a_terminal(environment: dict[str, str]) -> None:
    screen, code = run_on_terminal(COMMAND, environment=environment)
    assert code == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert "[1/2] read the clip" in text
    assert re.search(r"\[2/2\] motion .*40/40  loss 0\.\d{4}  4\.0 it/s  in 0:10", text)
    assert "note: the busiest part begins at 1.5 s" in text


@pytest.mark.parametrize(
    ("ending", "code", "message"),
    [
        ("--interrupt", 130, "error: interrupted\nhint: continue with `cav runs resume twirl-1`\n"),
        ("--ctrl-c", 130, "error: interrupted\n"),
        ("--nan", 1, "error: the loss is not finite at step 40\nhint: try a lower `--lr`\n"),
        ("--full", 6, "error: cannot write to `/somewhere`: No space left on device\nhint: " + FULL + "\n"),
    ],
)
def test_an_early_end_has_a_message_and_a_code(run: Workflow, ending: str, code: int, message: str) -> None:
    done = run(ending)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.endswith(message)
    last = json.loads(run(ending, "--json").stdout.splitlines()[-1])
    assert (last["ok"], last["data"], last["error"]["message"]) == (False, None, message.partition("\n")[0][7:])


def test_a_process_ends_with_the_code_of_ctrl_c(environment: dict[str, str]) -> None:
    done = subprocess.run([*COMMAND, "--ctrl-c"], env=environment, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.endswith("error: interrupted\n")
    assert "Traceback" not in done.stderr
