"""Checksums of big files, computed once for as long as a file's size and time of modification stay the same."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from cavtool.system.files import read_text, write_atomic

CACHE_FILE = "checksums.json"  # path -> [size in bytes, time of modification in ns, SHA-256]

computed: dict[str, list[int | str]] = {}  # by this process, in the form of the cache file


def file_sha256(path: Path, cache: Path | None = None) -> str:
    """The SHA-256 of a file, 64 hex digits; raises OSError if it cannot be read.

    `cache` is a folder in which the result is kept for other processes. A cache that is damaged or cannot be written is
    ignored.
    """
    key, stat = str(path.resolve()), path.stat()
    state = [stat.st_size, stat.st_mtime_ns]
    for known in (computed, _read(cache)):
        if key in known and known[key][:2] == state:
            computed[key] = known[key]
            return str(known[key][2])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    computed[key] = [*state, digest]
    _remember(cache, key)
    return digest


def _read(cache: Path | None) -> dict[str, list[int | str]]:
    """The valid entries of the cache; empty if it cannot be read."""
    if cache is None:
        return {}
    with suppress(OSError, ValueError, AttributeError):
        entries = json.loads(read_text(cache / CACHE_FILE)).items()
        return {key: entry for key, entry in entries if isinstance(entry, list) and len(entry) == 3}
    return {}


def _remember(cache: Path | None, key: str) -> None:
    if cache is None:
        return
    text = json.dumps(_read(cache) | {key: computed[key]}, indent=1)
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(cache / CACHE_FILE, lambda part: part.write_text(text, encoding="utf-8"))
