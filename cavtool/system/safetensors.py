"""safetensors files and the folders they are in, without torch: headers, shards, variants.

A file begins with 8 bytes that hold the length N of its header, little-endian, then N bytes of JSON:
`{"name": {"dtype": "F16", "shape": [1, 2], "data_offsets": [0, 4]}, "__metadata__": {"key": "text"}}`
(https://github.com/huggingface/safetensors#format).
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cavtool.errors import IntegrityFailure
from cavtool.system.files import read_text

_METADATA = "__metadata__"
_MAX_HEADER = 100_000_000  # bytes, as in the reference implementation
_STEM = r"(?:diffusion_pytorch_model|model)"
_WHOLE = re.compile(_STEM + r"(?:\.(?P<variant>\w+))?\.safetensors")
_INDEX = re.compile(_STEM + r"\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")


@dataclass(frozen=True)
class Weights:
    """The files with the weights of one model; `variant` is that of `from_pretrained`, such as "fp16"."""

    files: tuple[Path, ...]
    variant: str | None


def find_weights(folder: Path) -> Weights | None:
    """The safetensors weights in the folder of one model of a pipeline; None if it has none.

    One file or several with an index, under the names that `save_pretrained` of diffusers and transformers gives. If
    there are several variants, the one without a name comes first, as in `from_pretrained`, then fp16. Raises
    IntegrityFailure for an index that cannot be read.
    """
    found: dict[str | None, tuple[Path, ...]] = {}
    for file in sorted(folder.iterdir()):
        if match := _WHOLE.fullmatch(file.name):
            found.setdefault(match["variant"], (file,))
        elif match := _INDEX.fullmatch(file.name):
            found[match["variant"]] = _shards(file)
    if not found:
        return None
    variant = min(found, key=lambda name: (name is not None, name != "fp16", name or ""))
    return Weights(found[variant], variant)


def tensor_shapes(files: Iterable[Path]) -> dict[str, list[int]]:
    """The shape of every tensor in the files. Raises IntegrityFailure."""
    headers = [read_header(file) for file in files]
    return {name: entry["shape"] for header in headers for name, entry in header.items() if name != _METADATA}


def read_header(path: Path) -> dict[str, Any]:
    """A file's header: name to dtype, shape and offsets. Raises IntegrityFailure if it is not a safetensors file."""
    header = None
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file():  # a pipe would keep the reader waiting
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length)) if length <= _MAX_HEADER else None
    if not isinstance(header, dict) or not all(_is_entry(header[name]) for name in header if name != _METADATA):
        raise IntegrityFailure(f"`{path}` is not a readable safetensors file")
    return header


def _is_entry(entry: object) -> bool:
    """Whether it describes a tensor: its dtype, its shape, and where it begins and ends."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [None]
    return all(type(number) is int and number >= 0 for number in numbers) and len(offsets or ()) == 2


def is_whole(path: Path) -> bool:
    """Whether a safetensors file has all the bytes that its header announces. Raises IntegrityFailure."""
    header = read_header(path)
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != _METADATA]
    return path.stat().st_size >= start + max(ends, default=0)


def _shards(index: Path) -> tuple[Path, ...]:
    """The files an index names, all in the folder of the index."""
    try:
        names = set(json.loads(read_text(index))["weight_map"].values())
        return tuple(index.with_name(name) for name in sorted({Path(name).name for name in names}))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityFailure(f"`{index}` is not a readable index of weights") from error
