"""Many names in one command: globs, and what is done to one after another."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from cavtool.cli.output import Output
from cavtool.errors import CavError, NotFound, closest

_SIGNS = "*?["  # that make a name stand for many
_WITHOUT_SIGNS = str.maketrans("", "", _SIGNS)


class Outcome(NamedTuple):
    """What was done, and the failure of the whole, of the first one's kind for the exit code."""

    done: list[str]
    failure: CavError | None


def expand(wanted: Iterable[str], known: Iterable[str], listed_by: str = "cav list") -> list[str]:
    """The names that are wanted, once each; `test-*` stands for all known that match.

    NotFound where none does; then the hint is the closest, or the command that lists them.
    """
    known, names = list(known), []
    for each in wanted:
        if not set(each) & set(_SIGNS):
            names.append(each)
            continue
        matching = [name for name in known if fnmatchcase(name, each)]
        if not matching:
            hint = closest(each.translate(_WITHOUT_SIGNS), known, f"`{listed_by}` shows what there is")
            raise NotFound(f"nothing matches `{each}`", hint=hint)
        names += matching
    return list(dict.fromkeys(names))


def do_each(out: Output, done: str, names: Iterable[str], act: Callable[[str], object]) -> Outcome:
    """`act` on each name, going on after a failure, which is told; at the end it is told how many were `done`."""
    good, failures = [], []
    for name in names:
        try:
            act(name)
            good.append(name)
        except CavError as failure:
            out.error(failure)
            failures.append(failure)
    if failures:
        return Outcome(good, type(failures[0])(f"{len(good)} {done}, {len(failures)} not"))
    if len(good) > 1:
        out.note(f"{len(good)} {done}")
    return Outcome(good, None)
