"""Values as text for people, and as plain data for `--json`."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cavtool.registry import Asset


def size_text(num_bytes: int) -> str:
    """A size in decimal units: 1.2 MB."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.1f} kB"


def date_text(moment: str) -> str:
    """An ISO 8601 time as local time to the minute: 2026-11-22 14:32; returned unchanged if it does not parse."""
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return moment


def shorten(text: str, length: int) -> str:
    """The text, cut to `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def describe(asset: "Asset") -> dict[str, Any]:
    """The record of a motion or absorber, with its folder and size in bytes."""
    return {**asdict(asset.record), "path": str(asset.folder), "size": asset.size}


def printable(text: str, keep: str = "") -> str:
    """Untrusted text with `?` in place of control characters, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else "?" for letter in text)
