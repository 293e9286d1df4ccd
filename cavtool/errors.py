"""The errors a user can read: one message, one hint, one exit code.

CavError (1)
├─ InvalidInput (2)       a bad name, weight, setting, prompt or output; also a ValueError
├─ NotFound (3)           no such motion, absorber, model, run or input file; also a LookupError
├─ Conflict (4)           a name or an output file is taken, a run or the registry is in use
├─ IntegrityFailure (5)   a checksum differs, a newer schema, not a weights file
├─ Incompatible (1)       another base model, another shape; also a ValueError
├─ MediaError (1)         a file that is no video or cannot be read as one, too few frames
├─ TrainingError (1)      a loss that is not finite, a damaged checkpoint; also a RuntimeError
└─ RequirementError (6)   no ffmpeg, no accelerator, no memory, no disk space, a file or folder that cannot be written
                          (stdout too), no such model on this machine

A process that a signal ends has 128 plus its number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, 141 if the
program that reads its output has ended.
"""
# ruff: noqa: N818 - the names say what happened without the suffix `Error`

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class CavError(Exception):
    """A failure the user can read: `message` says what failed, `hint` what to do (neither ends in a period).

    `code` names the kind of failure to scripts and never changes; `exit_code` is what the command returns.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(CavError, ValueError):
    """An invalid name, value or combination of options."""

    code = "invalid-input"
    exit_code = 2


class NotFound(CavError, LookupError):
    """Nothing has that name; the hint offers the closest existing one."""

    code = "not-found"
    exit_code = 3


class Conflict(CavError):
    """The name is taken, or another process is using it."""

    code = "conflict"
    exit_code = 4


class IntegrityFailure(CavError):
    """Damaged data, or data of a newer version."""

    code = "integrity-failure"
    exit_code = 5


class Incompatible(CavError, ValueError):
    """Two valid things that do not fit together."""

    code = "incompatible"


class MediaError(CavError):
    """A video that cannot be used."""

    code = "media-error"


class TrainingError(CavError, RuntimeError):
    """A training that cannot continue."""

    code = "training-error"


class RequirementError(CavError):
    """Something is missing on this machine."""

    code = "requirement-missing"
    exit_code = 6


def closest(name: str, among: Iterable[str], otherwise: str) -> str:
    """A hint that offers the name closest to `name`; the hint `otherwise` if none is close."""
    matches = get_close_matches(name, among, n=1)
    return f"did you mean `{matches[0]}`?" if matches else otherwise


def reason_of(error: Exception) -> str:
    """What an error of a library says, in words: the text of a KeyError is only the key."""
    return f"it has no `{error.args[0]}`" if isinstance(error, KeyError) and error.args else str(error)


def counted(number: int, one: str, several: str = "") -> str:
    """A number and its noun, whose plural takes an s unless `several` is given: 1 entry, 2 entries."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"
