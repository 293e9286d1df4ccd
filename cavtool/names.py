"""Names of motions, absorbers and tags: safe as folder names on every file system."""

import re
import unicodedata

from cavtool.errors import InvalidInput

_LONGEST = 64
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{_LONGEST - 1}}}")
_ABSORBER_SUFFIX = "-look"
_LONGEST_LEARNED = _LONGEST - len(_ABSORBER_SUFFIX)
# Windows opens a device instead of a file with such a name.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def is_name(name: str) -> bool:
    """Whether `name` is safe as a folder name on every file system."""
    return _NAME.fullmatch(name) is not None and name not in _DEVICES


def check_name(name: str) -> str:
    """Return the name itself. Raises InvalidInput, with a valid name in the hint, unless `is_name` holds."""
    if is_name(name):
        return name
    if name in _DEVICES:
        raise InvalidInput(f"`{name}` cannot be a name: it is a device on Windows", hint=f"try `my-{name}`")
    rule = "a name has 1 to 64 of `a-z`, `0-9`, `_` and `-`, and starts with a letter or a digit"
    suggested = _similar(name)
    shown = name if len(name) <= _LONGEST else f"{name[:60]}…"
    raise InvalidInput(f"`{shown}` cannot be a name", hint=f"{rule}; try `{suggested}`" if suggested else rule)


def absorber_name(motion: str) -> str:
    """The name of a motion's absorber; the longest motion names are cut to make room for the suffix."""
    return f"{motion[:_LONGEST_LEARNED]}{_ABSORBER_SUFFIX}"


def check_learned(motion: str) -> None:
    """Raise InvalidInput for the name of a motion that is invalid or leaves no room for its absorber's suffix."""
    if len(check_name(motion)) > _LONGEST_LEARNED:
        message = f"`{motion}` is too long: its absorber is named like it, with `{_ABSORBER_SUFFIX}` at the end"
        raise InvalidInput(message, hint=f"use at most {_LONGEST_LEARNED} characters")


def _similar(name: str) -> str | None:
    """A valid name similar to `name`, or None if too little of it is left."""
    plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    similar = re.sub(r"[^a-z0-9_]+", "-", plain).lstrip("-_")[:_LONGEST].rstrip("-_")
    return similar if is_name(similar) else None
