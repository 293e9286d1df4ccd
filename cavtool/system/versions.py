"""Versions of libraries, as model folders state them."""


def is_newer(version: str, than: str) -> bool:
    """Whether a version is newer than another one; a suffix such as `.dev0` does not count."""
    return _numbers(version) > _numbers(than)


def _numbers(text: str) -> tuple[int, ...]:
    """A version as numbers: 0.42.1 to (0, 42, 1), a suffix such as `.dev0` left out."""
    numbers = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
