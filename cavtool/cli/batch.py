"""Commands on many names: globs, and one action on each name."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from cavtool.cli.output import Output
from cavtool.errors import CavError, NotFound, closest

_WILDCARDS = "*?["
_NO_WILDCARDS = str.maketrans("", "", _WILDCARDS)


class Outcome(NamedTuple):
    """The names that succeeded, and one error that counts the failures, of the first failure's type; None if none."""

    done: list[str]
    failure: CavError | None


def expand(requested: Iterable[str], known: Iterable[str], listed_by: str = "cav list") -> list[str]:
    """The requested names without duplicates; a glob like `test-*` becomes the known names that match it.

    Raises NotFound for a glob that matches nothing, with the closest name or the command `listed_by` in the hint.
    """
    known, names = list(known), []
    for each in requested:
        if not set(each) & set(_WILDCARDS):
            names.append(each)
            continue
        matching = [name for name in known if fnmatchcase(name, each)]
        if not matching:
            hint = closest(each.translate(_NO_WILDCARDS), known, f"`{listed_by}` shows what there is")
            raise NotFound(f"nothing matches `{each}`", hint=hint)
        names += matching
    return list(dict.fromkeys(names))


def for_each(out: Output, done: str, names: Iterable[str], act: Callable[[str], object]) -> Outcome:
    """Call `act` on each name; show an error and continue if it fails. `done` counts successes, as in "2 removed"."""
    succeeded, failures = [], []
    for name in names:
        try:
            act(name)
            succeeded.append(name)
        except CavError as failure:
            out.error(failure)
            failures.append(failure)
    if failures:
        return Outcome(succeeded, type(failures[0])(f"{len(succeeded)} {done}, {len(failures)} failed"))
    if len(succeeded) > 1:
        out.note(f"{len(succeeded)} {done}")
    return Outcome(succeeded, None)
