"""Commands on many names: globs, and one action on each name."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from cavtool.cli.output import Output
from cavtool.errors import CavError, NotFound, closest

_WILDCARDS = "*?["
_NO_WILDCARDS = str.maketrans("", "", _WILDCARDS)


class Outcome(NamedTuple):
    """The names that succeeded, the error of each that failed as plain data, and one error for the whole command.

    `failure` has the type of the first error; it is None if all succeeded.
    """

    done: list[str]
    failed: list[dict[str, str | None]]
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
    succeeded, failures, names = [], {}, list(names)
    for name in names:
        try:
            act(name)
            succeeded.append(name)
        except CavError as failure:
            failures[name] = failure
            if len(names) > 1:
                out.error(failure)
    if len(succeeded) > 1 and not failures:
        out.note(f"{len(succeeded)} {done}")
    described = [
        {"name": name, "code": each.code, "message": each.message, "hint": each.hint} for name, each in failures.items()
    ]
    return Outcome(succeeded, described, _summary(len(succeeded), done, failures) if failures else None)


def _summary(num_done: int, done: str, failures: dict[str, CavError]) -> CavError:
    """One error for all: the failure itself if it is the only one and nothing succeeded."""
    first = next(iter(failures.values()))
    if not num_done and len(failures) == 1:
        return first
    names = ", ".join(f"`{name}`" for name in failures)
    return type(first)(f"{num_done} {done}, {len(failures)} failed: {names}")
