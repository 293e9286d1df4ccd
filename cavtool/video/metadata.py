"""Recipes in the metadata of files: writing and reading them."""

import json
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ffmpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from cavtool.errors import MediaError
from cavtool.schema import parse_json
from cavtool.video.ffmpeg import input_path, run


def to_comment(recipe: Mapping[str, object] | None) -> str | None:
    """The recipe as text for every format: ASCII, under a key that sets it apart from the comments of other tools."""
    return None if recipe is None else json.dumps({"cav": recipe}, separators=(",", ":"))


def read_recipe(path: Path) -> dict[str, Any] | None:
    """The recipe that `encode` or `contact_sheet` put into a file; None if it has none.

    Raises MediaError if the file is missing or is neither a picture nor a video.
    """
    input_path(path)
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # Pillow warns about EXIF of others
            notes = [image.info.get("Comment"), image.info.get("comment")]
            notes.append(image.getexif().get(ExifTags.Base.ImageDescription))
    except UnidentifiedImageError:
        notes = [_container_comment(path)]
    except (OSError, SyntaxError, ValueError, TypeError, ArithmeticError, Image.DecompressionBombError) as error:
        raise MediaError(f"cannot read `{path}`: {error}") from error
    for note in notes:
        if not isinstance(note, str | bytes):  # another tool's EXIF may hold anything
            continue
        with suppress(ValueError):
            found = parse_json(note if isinstance(note, str) else note.decode())
            if isinstance(found, dict) and isinstance(found.get("cav"), dict):
                return dict(found["cav"])
    return None


def _container_comment(path: Path) -> str | None:
    """The comment of a video, unescaped as https://ffmpeg.org/ffmpeg-formats.html#metadata says."""
    job = ffmpeg.input(input_path(path)).output("pipe:", format="ffmetadata")
    text = run(job, f"cannot read `{path}`").decode(errors="replace")
    found = re.search(r"^comment=((?:[^\\\n]|\\.)*)", text, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL) if found else None
