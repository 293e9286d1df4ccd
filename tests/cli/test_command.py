"""The `command` decorator."""

import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from cavtool.cli.command import command, new_app
from cavtool.cli.output import Output
from cavtool.errors import Conflict
from cavtool.workspace import Workspace

app = new_app("Greetings.")


@command(app, "greetings greet")
def greet(
    out: Output,
    workspace: Workspace,
    names: Annotated[list[str], typer.Argument(help="Whom to greet.")],
    *,
    times: Annotated[int, typer.Option(help="How often.")] = 1,
    politely: Annotated[bool, typer.Option("--politely", help="With a title.")] = False,
) -> None:
    """Greet someone."""
    if "nobody" in names:
        raise Conflict("nobody is there")
    title = "Dr " if politely else ""
    data = {"names": names, "times": times, "politely": politely, "assets": str(workspace.places.assets)}
    out.result(data, [f"hello {title}{name}" for name in names] * times)
    out.hint("wave")


@command(app, "greetings leave")
def leave(out: Output) -> None:
    """Say goodbye."""
    out.result({}, ["goodbye"])


def call(*line: str) -> int:
    with pytest.raises(SystemExit) as ended:
        get_command(app).main(list(line), prog_name="cav greetings")
    return int(ended.value.code or 0)


def test_arguments_and_options_reach_the_body(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert call("greet", "Ada", "--politely", "Grace", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["command"] == "greetings greet"
    assert answer["data"] == {
        "names": ["Ada", "Grace"],
        "times": 1,
        "politely": True,
        "assets": str(home / "data" / "assets"),
    }


def test_quiet_hides_hints(capsys: pytest.CaptureFixture[str]) -> None:
    call("greet", "Ada", "--times", "2")
    assert capsys.readouterr() == ("hello Ada\nhello Ada\n", "hint: wave\n")
    call("greet", "Ada", "-q")
    assert capsys.readouterr() == ("hello Ada\n", "")


def test_an_error_becomes_a_message_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("greet", "nobody") == Conflict.exit_code
    assert capsys.readouterr() == ("", "error: nobody is there\n")


def test_the_help_shows_what_the_body_declares(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("greet", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Greet someone." in text
    for part in ("names... <list[str]> Whom to greet.", "--times <int> How often. [default: 1]", "--json", "--quiet"):
        assert part in text
    assert "workspace" not in text


def test_the_decorated_function_stays_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    leave(Output("greetings leave", json=False))
    assert capsys.readouterr().out == "goodbye\n"


def test_options_that_are_given_are_checked_and_come_before_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    group = get_command(app)
    ctx = group.make_context("cav greetings", ["greet"], default_map={"greet": {"times": 3}})
    called = group.commands["greet"]  # type: ignore[attr-defined]
    assert called.make_context("greet", ["Ada"], parent=ctx).params["times"] == 3
    assert called.make_context("greet", ["Ada", "--times", "2"], parent=ctx).params["times"] == 2
    assert call("greet", "Ada", "--times", "two") == 2
    assert "valid integer" in capsys.readouterr().err
