"""What the shell offers at the tab key."""

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cavtool.cli.commands.completion import SCRIPTS
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav

FOLDER = Path(__file__).parents[2] / "completions"


def complete(cav: Cav, line: str) -> set[str]:
    """The words offered at the end of `line`, where nothing else may be said."""
    done = cav(env={"_CAV_COMPLETE": "complete_fish", **FISH, "_TYPER_COMPLETE_ARGS": line})
    assert (done.returncode, done.stderr) == (0, "")
    return {offer.partition("\t")[0] for offer in done.stdout.splitlines() if offer}


FISH = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}


@pytest.fixture
def _assets(home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "tilt")
    put_motion(home, "twirl-look", kind="absorber")


@pytest.mark.usefixtures("_assets")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cav generate ironman --motion tw", {"twirl"}),
        ("cav generate 'a red cat' --motion ", {"twirl", "tilt"}),
        ("cav generate ironman --motion zoo", set()),
        ("cav generate ironman --motion twirl:", {f"twirl:{weight}" for weight in ("0.3", "0.5", "0.7", "1.0", "1.3")}),
        ("cav generate ironman --motion twirl:0.", {"twirl:0.3", "twirl:0.5", "twirl:0.7"}),
        ("cav generate ironman --motion tango:", set()),
        ("cav generate ironman --model cav-", {"cav-mini"}),
        ("cav show tw", {"twirl", "twirl-look"}),
        ("cav rm twirl t", {"twirl", "twirl-look", "tilt"}),
        ("cav ge", {"generate"}),
        ("cav runs re", {"resume"}),
        ("cav config set generate.s", {"generate.steps"}),
        ("cav completion ", {"bash", "zsh", "fish", "powershell"}),
        ("cav learn x y --dtype ", {"auto", "fp32", "bf16"}),
    ],
)
def test_words_that_exist_are_offered(cav: Cav, line: str, words: set[str]) -> None:
    assert complete(cav, line) == words


def test_files_are_offered_by_what_a_command_reads(cav: Cav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ref.mp4", "ref.txt", "ref.cav", ".hidden.mp4", "refs/more.MOV"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert complete(cav, "cav learn twirl ref") == {"ref.mp4", "refs/"}
    assert complete(cav, "cav learn twirl refs/") == {"refs/more.MOV"}
    assert complete(cav, f"cav learn twirl {tmp_path}/re") == {f"{tmp_path}/ref.mp4", f"{tmp_path}/refs/"}
    assert complete(cav, "cav import ref") == {"ref.cav", "refs/"}


def test_prompts_are_help_without_anything_a_shell_could_run(cav: Cav, home: Path) -> None:
    record = put_motion(home, "twirl").folder / "record.toml"
    evil = "a $(touch /tmp/x) `id` 'q' \\\\$(id) ; [[e] :x"
    record.write_text(record.read_text().replace("a white lantern twirls on the moon", evil))
    for shell in ("fish", "zsh", "powershell"):
        asked = {"_TYPER_COMPLETE_ARGS": "cav show tw", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "tw"}
        done = cav(env={"_CAV_COMPLETE": f"complete_{shell}", **FISH, **asked})
        assert "a touch tmp x id q id e x" in done.stdout
        assert not set(done.stdout.partition("touch")[2]) & set("$`\\;[")


def test_a_file_whose_name_a_shell_could_run_is_not_offered(
    cav: Cav, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x\\$(touch PWNED).mp4", "x`id`.mp4", 'x".mp4', "x y.mp4", "x;y.mp4", "x.mp4"):
        (tmp_path / name).touch()
    assert complete(cav, "cav learn twirl x") == {"x.mp4"}
    folder = put_motion(home, "twirl").folder
    folder.rename(folder.with_name("x$(id)"))
    assert complete(cav, "cav show ") == set()


def test_of_many_matches_the_first_have_help(cav: Cav, home: Path) -> None:
    first = put_motion(home, "m-0").folder
    for n in range(1, 60):
        shutil.copytree(first, first.with_name(f"m-{n}"))
    done = cav(env={"_CAV_COMPLETE": "complete_fish", **FISH, "_TYPER_COMPLETE_ARGS": "cav show m"})
    offers = [offer.partition("\t") for offer in done.stdout.splitlines()]
    assert {name for name, _, _ in offers} == {f"m-{n}" for n in range(60)}
    assert [bool(about) for _, _, about in offers] == 50 * [True] + 10 * [False]


def test_no_registry_and_a_broken_one_offer_nothing(cav: Cav, home: Path) -> None:
    assert complete(cav, "cav show ") == set()
    (broken := home / "data" / "assets" / "broken").mkdir(parents=True)
    (broken / "record.toml").write_bytes(b"\xff = [")
    assert complete(cav, "cav generate x --motion ") == set()
    (home / "config").mkdir()
    (home / "config" / "config.toml").write_text("[")
    assert complete(cav, "cav show b") == {"broken"}


def test_options_are_offered_but_none_that_installs(cav: Cav) -> None:
    assert complete(cav, "cav --") == {"--version", "--help"}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_in_the_repository_are_those_the_program_prints(cav: Cav, shell: str) -> None:
    done = cav("completion", shell)
    assert done.stdout == (FOLDER / SCRIPTS[shell][1]).read_text()
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(name for _, name in SCRIPTS.values())


def test_another_shell_is_refused(cav: Cav) -> None:
    done = cav("completion", "bahs")
    assert (done.returncode, done.stderr) == (2, "error: no script for `bahs`\nhint: did you mean `bash`?\n")


class Shell:
    """A real shell on a pseudo-terminal, where `cav` is the one under test."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        import pty

        (folder / "cav").write_text(f'#!/bin/sh\nexec {sys.executable} -m cavtool "$@"\n')
        (folder / "cav").chmod(0o755)
        self.ours, self.theirs = pty.openpty()
        path = f"{folder}{os.pathsep}{environment['PATH']}"
        # who leads a session and opens a terminal has it as its own, which fish asks for
        opened = ["sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(self.theirs), *command]
        surroundings = {**environment, "PATH": path, "TERM": "dumb"}
        self.process = subprocess.Popen(opened, env=surroundings, start_new_session=True)

    def type(self, text: str, until: str, seconds: float = 30) -> str:
        """Type `text`; what is shown until `until` shows up."""
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


@pytest.mark.usefixtures("_assets")
@pytest.mark.parametrize(
    ("name", "flags", "file"),
    [
        ("bash", ["--norc", "--noprofile", "-i"], "cav.bash"),
        ("zsh", ["-f", "-i"], "_cav"),
        ("fish", ["--no-config", "-i"], "cav.fish"),
    ],
)
def test_a_real_shell_completes_names_and_keeps_words_with_a_colon_whole(
    environment: dict[str, str], tmp_path: Path, name: str, flags: list[str], file: str
) -> None:
    if not shutil.which(name):
        pytest.skip(f"no {name} here")
    shell = Shell([name, *flags], environment, tmp_path)
    try:
        if name == "zsh":
            shell.type("autoload -U compinit; compinit -u\n", "")
        shell.type(f"source '{FOLDER / file}'; echo rea''dy\n", "ready")
        shell.type("cav generate x --motion tw\t", "twirl")
        assert "twirl:1." in shell.type("-m twirl:1\t", ".").replace("\a", "")
    finally:
        shell.close()
