import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cavtool import errors
from cavtool.errors import CavError, closest

# Scripts rely on these: kinds may be added but not changed.
PUBLISHED = {
    "CavError": ("error", 1),
    "InvalidInput": ("invalid-input", 2),
    "NotFound": ("not-found", 3),
    "Conflict": ("conflict", 4),
    "IntegrityFailure": ("integrity-failure", 5),
    "Incompatible": ("incompatible", 1),
    "MediaError": ("media-error", 1),
    "TrainingError": ("training-error", 1),
    "RequirementError": ("requirement-missing", 6),
}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CavError)]


def test_codes_and_exit_codes_are_the_published_ones() -> None:
    assert {kind.__name__: (kind.code, kind.exit_code) for kind in KINDS} == PUBLISHED


def test_the_docstring_lists_every_error() -> None:
    for name, (_, exit_code) in PUBLISHED.items():
        assert f"{name} ({exit_code})" in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", KINDS)
def test_error_carries_message_and_hint(kind: type[CavError]) -> None:
    error = kind("no motion `twril`", hint="did you mean `twirl`?")
    assert (str(error), error.message, error.hint) == ("no motion `twril`",) * 2 + ("did you mean `twirl`?",)
    assert kind("plain").hint is None
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes: errors cross process borders
    assert (type(copy), copy.message, copy.hint) == (kind, error.message, error.hint)


def test_some_errors_are_also_builtin_ones() -> None:
    for kind, builtin in [
        (errors.InvalidInput, ValueError),
        (errors.Incompatible, ValueError),
        (errors.NotFound, LookupError),
        (errors.TrainingError, RuntimeError),
    ]:
        assert issubclass(kind, builtin)


def test_closest() -> None:
    assert closest("twril", ["dolly_zoom", "twirl", "zigzag"], "see `cav list`") == "did you mean `twirl`?"
    assert closest("completely-else", ["twirl"], "see `cav list`") == "see `cav list`"
    assert closest("twirl", [], "see `cav list`") == "see `cav list`"


def test_the_module_imports_nothing_else_of_the_package() -> None:
    code = "import sys, cavtool.errors; print(*sorted(m for m in sys.modules if m.startswith('cavtool')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cavtool", "cavtool._version", "cavtool.errors"]


def test_the_readme_lists_every_exit_code() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    of_signals = {128 + number for number in (1, 2, 13, 15)}
    assert listed == sorted({0, CavError.exit_code, *of_signals, *(kind.exit_code for kind in KINDS)})
