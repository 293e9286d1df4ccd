"""The program as a whole: help, usage errors, imports."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import cavtool
from cavtool.cli.app import COMMANDS
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav
from tests.cli.processes import packages_loaded

GROUPS = {
    "runs": "list resume attach stop logs rm",
    "trash": "list restore empty",
    "models": "list show add pull use rm",
    "config": "list get set unset path edit",
}
LINES = [
    *(command for command in COMMANDS if command not in GROUPS),
    *(f"{group} {verb}" for group, verbs in GROUPS.items() for verb in verbs.split()),
]
HEAVY = {"accelerate", "cv2", "diffusers", "ffmpeg", "imageio_ffmpeg", "numpy", "peft", "PIL", "torch", "transformers"}
# The only packages outside the standard library that the quickest commands may import.
QUICK = {"cavtool", "typer", "annotated_doc", "shellingham", "platformdirs", "msgspec", "tomli", "typing_extensions"}


def listed_commands(help_text: str) -> list[str]:
    return [line.split()[0] for line in help_text.partition("Commands:")[2].splitlines() if line.strip()]


def test_help_lists_every_command(cav: Cav, cav_process: Cav) -> None:
    done = cav_process("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert listed_commands(done.stdout) == list(COMMANDS)
    assert "Start with `cav demo`." in done.stdout
    assert cav().stdout == done.stdout


def test_every_module_of_a_command_is_listed() -> None:
    files = (Path(cavtool.__file__).parent / "cli" / "commands").glob("*.py")
    assert {file.stem for file in files} - {"__init__"} == {entry.module for entry in COMMANDS.values()}
    for entry in COMMANDS.values():
        assert import_module(f"cavtool.cli.commands.{entry.module}").app


@pytest.mark.parametrize("command", COMMANDS)
def test_the_summary_is_the_first_line_of_the_help(cav: Cav, command: str) -> None:
    assert f"\n\n  {COMMANDS[command].summary}\n" in cav(command, "--help").stdout


@pytest.mark.parametrize("command", LINES)
def test_every_command_has_an_example_and_takes_json_and_quiet(cav: Cav, command: str) -> None:
    done = cav(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"--json", "-q, --quiet"} <= set(re.findall(r"(?:-\w, )?--\w+", done.stdout))
    assert f"`cav {command}" in done.stdout or f"(cav {command}" in done.stdout


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_lists_its_commands(cav: Cav, group: str) -> None:
    assert " ".join(listed_commands(cav(group, "--help").stdout)) == GROUPS[group]


@pytest.mark.parametrize("line", ["--version", "-V", "version"])
def test_version(cav: Cav, line: str) -> None:
    assert cav(line) == (0, f"cav {cavtool.__version__}\n", "")


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("-h", "--help"),
        ("help", "--help"),
        ("help list", "list --help"),
        ("list -h", "list --help"),
        ("runs", "runs --help"),
        ("runs help logs", "runs logs --help"),
        ("help runs logs", "runs logs --help"),
        ("ls", "list"),
        ("runs ls", "runs list"),
    ],
)
def test_aliases_for_help_version_and_list(cav: Cav, line: str, same: str) -> None:
    done = cav(*line.split())
    assert (done.returncode, done.stdout) == (0, cav(*same.split()).stdout)


def test_a_prompt_that_begins_with_a_dash_is_explained(cav: Cav) -> None:
    done = cav("generate", "-a red cat")
    assert done.returncode == 2
    assert done.stderr.endswith("hint: if it is a prompt, write `--` before it: `cav generate … -- '-a red cat'`\n")
    assert "no motion named `nothing`" in cav("generate", "-m", "nothing", "--", "-a red cat").stderr


def test_the_help_of_a_group_is_not_cut(cav: Cav) -> None:
    assert "and delete downloaded ones from the Hub's cache." in cav("models", "--help").stdout


@pytest.mark.parametrize(
    "line",
    [
        ["learn", "x", ""],
        ["absorb", "x", ""],
        ["import", ""],
        ["generate", "a cat", "-o", ""],
        ["export", "x", "-o", ""],
        ["eval", ""],
        ["generate", "a cat", "--model", ""],
        ["generate", "a cat", "--like", ""],
    ],
)
def test_an_empty_path_or_name_is_refused(cav: Cav, line: list[str]) -> None:
    done = cav(*line)
    assert (done.returncode, done.stdout, "empty" in done.stderr.splitlines()[0]) == (2, "", True)


@pytest.mark.parametrize("line", [["path", ""], ["show", ""], ["rm", "", "--yes"]])
def test_an_empty_name_is_that_of_nothing(cav: Cav, home: Path, line: list[str]) -> None:
    put_motion(home, "twirl")
    assert (cav(*line).returncode, cav("path").returncode) == (3, 0)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("lst", "no such command `lst`", "did you mean `list`?"),
        ("frobnicate", "no such command `frobnicate`", "see `cav --help`"),
        ("runs lst", "no such command `lst`", "did you mean `list`?"),
        ("list --motion", "no such option `--motion`", "did you mean `--motions`?"),
        ("list \x1b[31m", "got unexpected extra argument(s) (?[31m)", "see `cav list --help`"),
        ("list all", "got unexpected extra argument(s) (all)", "see `cav list --help`"),
        (
            "learn a b --steps few",
            "invalid value for `--steps`: must be a valid integer, unable to parse string as an integer",
            "see `cav learn --help`",
        ),
        ("show", "missing argument `name`", "see `cav show --help`"),
        (
            "learn a b --absorber-kind x",
            "invalid value for `--absorber-kind`: `x` is not one of `dual`, `s-lora`, `textinv`, `none`",
            "see `cav learn --help`",
        ),
        ("generate -cat", "no such option `-c`", "if it is a prompt, write `--` before it: `cav generate … -- -cat`"),
        ("learn a gone.mp4 --help-me", "no such option `--help-me`", "did you mean `--help`?"),
        ("absorb a --steps 3", "missing argument `SOURCE`", "see `cav absorb --help`"),
        ("rm", "missing argument `names`", "see `cav rm --help`"),
    ],
)
def test_usage_errors_have_a_message_and_a_hint(cav: Cav, line: str, message: str, hint: str) -> None:
    assert cav(*line.split()) == (2, "", f"error: {message}\nhint: {hint}\n")


def test_invalid_utf8_is_refused(cav_process: Cav) -> None:
    done = cav_process("note", "twirl", "\udcff")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: the command line is not valid UTF-8")


def test_a_usage_error_is_json_for_scripts(cav: Cav) -> None:
    done = cav("show", "--json")
    assert (done.returncode, done.stderr) == (2, "")
    answer = json.loads(done.stdout)
    assert answer["error"] == {
        "code": "invalid-input",
        "message": "missing argument `name`",
        "hint": "see `cav show --help`",
    }
    assert (answer["schema"], answer["ok"], answer["data"]) == (1, False, None)


def test_no_option_edits_shell_files(cav: Cav) -> None:
    assert cav("--install-completion").returncode == 2


def test_debug_mode_shows_the_traceback(cav_process: Cav) -> None:
    done = cav_process("show", "nothing", env={"CAV_DEBUG": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "NotFound" in done.stderr


def test_a_closed_pipe_is_not_an_error(environment: dict[str, str], home: Path) -> None:
    put_motion(home, "twirl")
    line = f"{sys.executable} -m cavtool list --json | true"
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, encoding="utf-8", check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "--version",
        "list",
        "list --json",
        "show twirl",
        "rm twirl --yes",
        "runs list",
        "models list",
        "learn --help",
        "generate --help",
        "nonsense",
        "learn twirl pyproject.toml",
        "learn Twirl pyproject.toml",
        "learn zoom pyproject.toml --lr 0",
        "generate ironman --motion nothing",
        "generate ironman --motion twirl --steps 0",
        "runs resume nothing",
    ],
)
def test_light_commands_import_nothing_heavy(environment: dict[str, str], home: Path, line: str) -> None:
    put_motion(home, "twirl")
    loaded = packages_loaded(line.split(), environment)
    assert not loaded & HEAVY
    assert "rich" not in loaded


@pytest.mark.parametrize("line", ["--help", "--version", "list", "runs list", "trash list", "path"])
def test_the_quickest_commands_import_only_what_they_need(environment: dict[str, str], home: Path, line: str) -> None:
    put_motion(home, "twirl")
    assert packages_loaded(line.split(), environment) - sys.stdlib_module_names <= QUICK


def test_completion_imports_nothing_heavy(environment: dict[str, str], home: Path) -> None:
    put_motion(home, "twirl")
    request = {"_CAV_COMPLETE": "complete_bash", "COMP_WORDS": "cav generate x --motion tw", "COMP_CWORD": "4"}
    assert not packages_loaded([], {**environment, **request}) & {*HEAVY, "rich", "filelock", "tomlkit"}
