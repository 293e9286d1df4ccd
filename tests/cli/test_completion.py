"""Shell completion."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cavtool.cli.completion.scripts import SCRIPTS
from cavtool.models.store import Pointer
from cavtool.workspace import Workspace
from tests.cli.assets import put_motion
from tests.cli.conftest import Cav
from tests.cli.terminal import Shell

FOLDER = Path(__file__).parents[2] / "completions"
Complete = Callable[[str], dict[str, str]]


@pytest.fixture
def complete(cav: Cav) -> Complete:
    """The words offered at the end of a line, with their descriptions; nothing else may be printed."""

    def run(line: str) -> dict[str, str]:
        request = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": line}
        done = cav(env={"_CAV_COMPLETE": "complete_fish", **request})
        assert (done.returncode, done.stderr) == (0, "")
        offers = [offer.partition("\t") for offer in done.stdout.splitlines() if offer]
        return {word: description for word, _, description in offers}

    return run


@pytest.fixture
def _assets(home: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "tilt")
    put_motion(home, "twirl-look", kind="absorber")
    Workspace(home).models.save(Pointer(name="some/scope", source="some/scope"))


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
        ("cav generate ironman --motion twirl@", {f"twirl@{part}" for part in ("0-0.3", "0-0.5", "0.3-1", "0.5-1")}),
        ("cav generate ironman --motion twirl:0.7@0-", {"twirl:0.7@0-0.3", "twirl:0.7@0-0.5"}),
        ("cav generate ironman --motion tango@", set()),
        ("cav mix both tw", {"twirl"}),
        ("cav mix both twirl tilt:0.", {"tilt:0.3", "tilt:0.5", "tilt:0.7"}),
        ("cav mix both twirl tilt@", set()),
        ("cav generate ironman --style tw", {"twirl-look"}),
        ("cav learn x y --absorber twirl-look:0.", {"twirl-look:0.3", "twirl-look:0.5", "twirl-look:0.7"}),
        ("cav generate ironman --model cav-", {"cav-mini"}),
        ("cav learn x y --model so", {"some/scope"}),
        ("cav models use wan2", {"wan2.2-14b", "wan2.2-5b"}),
        ("cav models pull ca", set()),
        ("cav show tw", {"twirl", "twirl-look"}),
        ("cav rm twirl t", {"twirl", "twirl-look", "tilt"}),
        ("cav ge", {"generate"}),
        ("cav runs re", {"resume"}),
        ("cav config set generate.s", {"generate.steps"}),
        ("cav completion ", {"bash", "zsh", "fish", "powershell"}),
        ("cav learn x y --dtype ", {"auto", "fp16", "fp32", "bf16"}),
        ("cav rm twirl --y", {"--yes"}),
        ("cav rm twirl --yes --y", set()),
        ("cav frobnicate --y", set()),
    ],
)
def test_words_are_completed(complete: Complete, line: str, words: set[str]) -> None:
    assert complete(line).keys() == words


def test_files_are_offered_by_suffix(complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ref.mp4", "ref.txt", "ref.cav", "ref.png", "ref.safetensors", ".hidden.mp4", "refs/more.MOV"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert complete("cav learn twirl ref").keys() == {"ref.mp4", "refs/"}
    assert complete("cav learn twirl refs/").keys() == {"refs/more.MOV"}
    assert complete(f"cav learn twirl {tmp_path}/re").keys() == {f"{tmp_path}/ref.mp4", f"{tmp_path}/refs/"}
    assert complete("cav absorb moon x.mp4 ref").keys() == {"ref.mp4", "ref.png", "refs/"}
    assert complete("cav learn twirl ref.mp4 --absorber ref").keys() == {"ref.safetensors", "refs/"}
    assert complete("cav import ref").keys() == {"ref.cav", "ref.safetensors", "refs/"}


@pytest.mark.parametrize("shell", ["fish", "zsh", "powershell"])
def test_descriptions_contain_nothing_that_a_shell_evaluates(cav: Cav, home: Path, shell: str) -> None:
    record = put_motion(home, "twirl").folder / "record.toml"
    evil = "a $(touch /tmp/x) `id` 'q' \\\\$(id) ; [[e] :x"
    record.write_text(record.read_text().replace("a white lantern twirls on the moon", evil))
    request = {
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": "cav show tw",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": "tw",
    }
    done = cav(env={"_CAV_COMPLETE": f"complete_{shell}", **request})
    assert "a touch tmp x id q id e x" in done.stdout
    assert not set(done.stdout.partition("touch")[2]) & set("$`\\;[")


def test_names_that_a_shell_evaluates_are_not_offered(
    complete: Complete, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x\\$(touch PWNED).mp4", "x`id`.mp4", 'x".mp4', "x y.mp4", "x;y.mp4", "x.mp4"):
        (tmp_path / name).touch()
    assert complete("cav learn twirl x").keys() == {"x.mp4"}
    folder = put_motion(home, "twirl").folder
    folder.rename(folder.with_name("x$(id)"))
    assert complete("cav show ") == {}


def test_the_first_of_many_matches_have_a_description(complete: Complete, home: Path) -> None:
    first = put_motion(home, "m-0").folder
    for n in range(1, 60):
        shutil.copytree(first, first.with_name(f"m-{n}"))
    offers = complete("cav show m")
    assert offers.keys() == {f"m-{n}" for n in range(60)}
    assert [bool(description) for description in offers.values()] == 50 * [True] + 10 * [False]


def test_an_empty_or_broken_registry_offers_nothing(complete: Complete, home: Path) -> None:
    assert complete("cav show ") == {}
    (broken := home / "data" / "assets" / "broken").mkdir(parents=True)
    (broken / "record.toml").write_bytes(b"\xff = [")
    assert complete("cav generate x --motion ") == {}
    (home / "config").mkdir()
    (home / "config" / "config.toml").write_text("[")
    assert complete("cav show b").keys() == {"broken"}


def test_no_option_that_installs_completion_is_offered(complete: Complete) -> None:
    assert complete("cav --").keys() == {"--version", "--help"}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_in_the_repository_are_up_to_date(cav: Cav, shell: str) -> None:
    assert cav("completion", shell).stdout == (FOLDER / SCRIPTS[shell].file).read_text()
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(script.file for script in SCRIPTS.values())


def test_an_unknown_shell_has_a_suggestion(cav: Cav) -> None:
    assert cav("completion", "bahs") == (2, "", "error: no script for `bahs`\nhint: did you mean `bash`?\n")


@pytest.mark.usefixtures("_assets")
@pytest.mark.parametrize(
    ("name", "flags", "file"),
    [
        ("bash", ["--norc", "--noprofile", "-i"], "cav.bash"),
        ("zsh", ["-f", "-i"], "_cav"),
        ("fish", ["--no-config", "-i"], "cav.fish"),
    ],
)
def test_a_real_shell_completes_names_weights_and_windows(
    environment: dict[str, str], tmp_path: Path, name: str, flags: list[str], file: str
) -> None:
    if not shutil.which(name):
        pytest.skip(f"no {name} on this machine")
    shell = Shell([name, *flags], environment, tmp_path)
    try:
        if name == "zsh":
            shell.type("autoload -U compinit; compinit -u\n", "")
        shell.type(f"source '{FOLDER / file}'; echo rea''dy\n", "ready")
        shell.type("cav generate x --motion tw\t", "twirl")
        assert "twirl:1." in shell.type("-m twirl:1\t", ".").replace("\a", "")
        assert "twirl:2@0.5-1 " in shell.type(" -m twirl:2@0.5\t", "-1 ").replace("\a", "")
    finally:
        shell.close()
