"""The program as a whole: its help, how it refuses a line, and what it does not load."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cavtool
from cavtool.cli.app import COMMANDS
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav

GROUPS = {
    "runs": "list resume attach stop logs rm",
    "trash": "list restore empty",
    "config": "list get set unset path edit",
}
HEAVY = {"accelerate", "cv2", "diffusers", "ffmpeg", "imageio_ffmpeg", "numpy", "peft", "PIL", "torch", "transformers"}
# What the commands that take half as long again as importing typer may load, and nothing else.
QUICK = {"cavtool", "typer", "annotated_doc", "shellingham", "platformdirs", "msgspec", "typing_extensions"}


def test_help_describes_every_command(cav: Cav) -> None:
    done = cav("--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == list(COMMANDS)
    assert cav().stdout == done.stdout


@pytest.mark.parametrize(
    "command",
    [
        *(command for command in COMMANDS if command not in GROUPS),
        *(f"{group} {verb}" for group, verbs in GROUPS.items() for verb in verbs.split()),
    ],
)
def test_every_command_explains_itself_by_example_and_takes_json_and_quiet(cav: Cav, command: str) -> None:
    done = cav(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"--json", "-q, --quiet"} <= set(re.findall(r"(?:-\w, )?--\w+", done.stdout))
    assert f"`cav {command}" in done.stdout or f"(cav {command}" in done.stdout


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_lists_its_commands(cav: Cav, group: str) -> None:
    done = cav(group, "--help")
    listed = [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert " ".join(listed) == GROUPS[group]


def test_version(cav: Cav) -> None:
    assert cav("--version").stdout == f"cav {cavtool.__version__}\n"


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("lst", "no such command `lst`", "did you mean `list`?"),
        ("frobnicate", "no such command `frobnicate`", "see `cav --help`"),
        ("list --motion", "no such option `--motion`", "did you mean `--motions`?"),
        (
            "learn a b --steps few",
            "invalid value for `--steps`: input should be a valid integer, unable to parse string as an integer",
            "see `cav learn --help`",
        ),
        ("show", "missing argument `name`", "see `cav show --help`"),
        ("runs", "missing command", "see `cav runs --help`"),
        ("rm", "missing argument `names`", "see `cav rm --help`"),
    ],
)
def test_a_line_it_cannot_read_gets_a_message_and_a_hint(cav: Cav, line: str, message: str, hint: str) -> None:
    done = cav(*line.split())
    assert done.returncode == 2
    assert (done.stdout, done.stderr) == ("", f"error: {message}\nhint: {hint}\n")


def test_a_byte_that_is_no_text_is_refused(cav: Cav) -> None:
    done = cav("note", "twirl", "\udcff")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: the command line holds a byte that is no text")


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


def test_no_option_edits_the_shells_files(cav: Cav) -> None:
    assert cav("--install-completion").returncode == 2


def test_debug_shows_the_traceback(cav: Cav) -> None:
    done = cav("show", "nothing", env={"CAV_DEBUG": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "NotFound" in done.stderr


def test_a_reader_that_leaves_is_no_error(environment: dict[str, str], home: Path) -> None:
    put_motion(home, "twirl")
    line = f"{sys.executable} -m cavtool list --json | true"
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, encoding="utf-8", check=False)
    assert "Traceback" not in done.stderr


LOADED = """
import sys
before = set(sys.modules)  # what the machine's own Python loads at its start is not ours
from cavtool.cli.app import main
try:
    main()
finally:
    print(*{name.partition(".")[0] for name in set(sys.modules) - before}, file=sys.stderr)
"""


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
def test_light_commands_load_nothing_heavy(environment: dict[str, str], home: Path, line: str) -> None:
    put_motion(home, "twirl")
    loaded = _loaded(line.split(), environment)
    assert not loaded & HEAVY
    assert "rich" not in loaded


@pytest.mark.parametrize("line", ["--help", "--version", "list", "runs list", "trash list", "path"])
def test_the_quickest_commands_load_what_they_need_and_no_more(
    environment: dict[str, str], home: Path, line: str
) -> None:
    put_motion(home, "twirl")
    assert _loaded(line.split(), environment) - sys.stdlib_module_names <= QUICK


def test_completion_loads_nothing_heavy(environment: dict[str, str], home: Path) -> None:
    put_motion(home, "twirl")
    asked = {"_CAV_COMPLETE": "complete_bash", "COMP_WORDS": "cav generate x --motion tw", "COMP_CWORD": "4"}
    assert not _loaded([], {**environment, **asked}) & {*HEAVY, "rich", "filelock", "tomlkit"}


def _loaded(arguments: list[str], environment: dict[str, str]) -> set[str]:
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    return set(done.stderr.splitlines()[-1].split())
