"""What the shell offers at the tab key."""

from pathlib import Path

import pytest

from tests.cli.assets import put_motion
from tests.cli.conftest import Cav


def complete(cav: Cav, line: str) -> set[str]:
    """The words bash offers at the end of `line`, where nothing else may be said."""
    words = line.split(" ")
    asked = {"_CAV_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = cav(env=asked)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


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
        ("cav generate ironman --motion ", {"twirl", "tilt"}),
        ("cav generate ironman --motion zoo", set()),
        ("cav show tw", {"twirl", "twirl-look"}),
        ("cav rm twirl t", {"twirl", "twirl-look", "tilt"}),
        ("cav ge", {"generate"}),
        ("cav runs re", {"resume"}),
        ("cav learn x y --dtype ", {"auto", "fp32", "bf16"}),
    ],
)
def test_words_that_exist_are_offered(cav: Cav, line: str, words: set[str]) -> None:
    assert complete(cav, line) == words


def test_no_registry_and_a_broken_one_offer_nothing(cav: Cav, home: Path) -> None:
    assert complete(cav, "cav show ") == set()
    (broken := home / "data" / "assets" / "broken").mkdir(parents=True)
    (broken / "record.toml").write_bytes(b"\xff = [")
    assert complete(cav, "cav generate x --motion ") == set()


def test_options_are_offered_but_none_that_installs(cav: Cav) -> None:
    assert complete(cav, "cav --") == {"--version", "--help"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_every_shell_gets_its_script(cav: Cav, shell: str) -> None:
    done = cav(env={"_CAV_COMPLETE": f"source_{shell}"})
    assert done.returncode == 0
    assert "_CAV_COMPLETE" in done.stdout
