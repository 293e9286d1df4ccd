"""TOML texts that were parsed before. To parse those of a hundred records takes as long as to start Python and typer.

Disposable, and never wrong: a text is known by its hash.
"""

import json
import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

Loads = Callable[[str], dict[str, Any]]


@contextmanager
def remembering(file: Path) -> Iterator[Loads]:
    """A `tomllib.loads` that finds in `file` what it parsed last time, and keeps there what it parsed this time."""
    before, now = _read(file), {}

    def loads(text: str) -> dict[str, Any]:
        key = blake2b(text.encode(), digest_size=16).hexdigest()
        now[key] = before[key] if key in before else tomllib.loads(text)
        return now[key]

    yield loads
    if now.keys() != before.keys():
        with suppress(
            OSError, TypeError, ValueError
        ):  # a registry that may not be written to; a date, which JSON does not know
            part = file.with_name(f"{file.name}-{os.getpid()}")
            part.write_text(json.dumps(now), encoding="utf-8")
            part.replace(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        tables = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    items = tables.items() if isinstance(tables, dict) else ()
    return {key: table for key, table in items if isinstance(table, dict)}
