"""What a long command shows while it works, told by real processes that say the events of a workflow."""

import json
import re
import subprocess
import sys

import pytest

from tests.cli.terminal import run_on_a_terminal

WORKFLOW = """
import sys
from cavtool.cli.output import Output
from cavtool.errors import TrainingError
from cavtool.events import Interrupted, Note, Stage, Step, Warn

with Output("learn", json="--json" in sys.argv, quiet="-q" in sys.argv) as out:
    with out.progress() as tell:
        tell(Stage("read the clip", 1, 2))
        tell(Note("the busiest part begins at 1.5 s"))
        tell(Warn("no prompt"))
        tell(Stage("motion", 2, 2))
        for step in range(1, 41):
            tell(Step("motion", step, 40, 1.0 / step, step * 0.25))
        if "--interrupt" in sys.argv:
            raise Interrupted("twirl-1")
        if "--ctrl-c" in sys.argv:
            raise KeyboardInterrupt
        if "--nan" in sys.argv:
            raise TrainingError("the loss is not finite at step 40", hint="try a lower `--lr`")
        if "--full" in sys.argv:
            raise OSError(28, "No space left on device", "/somewhere")
    out.result({"name": "twirl"}, ["twirl"])
"""
COMMAND = [sys.executable, "-c", WORKFLOW]


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, encoding="utf-8", check=False)


def test_without_a_terminal_a_line_now_and_then(environment: dict[str, str]) -> None:
    done = run(environment)
    assert done.stdout == "twirl\n"
    lines = done.stderr.splitlines()
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


def test_the_loss_is_smoothed(environment: dict[str, str]) -> None:
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", run(environment).stderr)]
    assert losses[0] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, abs=1e-4)  # the mean so far
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] > 2 / 40  # behind the last one


def test_quiet_it_tells_warnings_only_and_what_went_wrong(environment: dict[str, str]) -> None:
    done = run(environment, "-q")
    assert (done.stdout, done.stderr) == ("twirl\n", "warning: no prompt\n")
    failed = run(environment, "-q", "--nan").stderr
    assert failed.endswith("error: the loss is not finite at step 40\nhint: try a lower `--lr`\n")
    screen, _ = run_on_a_terminal([*COMMAND, "-q"], environment=environment)
    assert "motion" not in screen


def test_json_is_events_and_then_the_result(environment: dict[str, str]) -> None:
    done = run(environment, "--json")
    *events, result = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert [event["event"] for event in events[:5]] == ["stage", "note", "warning", "stage", "step"]
    assert events[4] == {"event": "step", "stage": "motion", "step": 1, "num_steps": 40, "loss": 1.0, "seconds": 0.25}
    assert result == {"schema": 1, "ok": True, "command": "learn", "data": {"name": "twirl"}, "error": None}


def test_a_terminal_sees_bars(environment: dict[str, str]) -> None:
    screen, code = run_on_a_terminal(COMMAND, environment=environment)
    assert code == 0
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert "[1/2] read the clip" in last
    assert re.search(r"\[2/2\] motion .*40/40  loss 0\.\d{4}  4\.0 it/s  in 0:10", last)
    assert "note: the busiest part begins at 1.5 s" in last


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("--interrupt", 130, "error: interrupted\nhint: continue with `cav runs resume twirl-1`\n"),
        ("--ctrl-c", 130, "error: interrupted\n"),
        ("--nan", 1, "error: the loss is not finite at step 40\nhint: try a lower `--lr`\n"),
        ("--full", 1, "error: No space left on device: `/somewhere`\n"),
    ],
)
def test_an_end_before_its_time_is_said(environment: dict[str, str], how: str, code: int, said: str) -> None:
    done = run(environment, how)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.endswith(said)
    assert "Traceback" not in done.stderr
    last = json.loads(run(environment, how, "--json").stdout.splitlines()[-1])
    assert (last["ok"], last["data"], last["error"]["message"]) == (False, None, said.partition("\n")[0][7:])
