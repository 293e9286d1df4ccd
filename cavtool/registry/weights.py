"""Checks of the weights of motions and absorbers, without torch: every LoRA complete, every number finite.

Files hold `unet.<layer>.lora_A.weight` (R, in) and `lora_B.weight` (out, R), or the names of a transformer in place of
`unet`; an absorber may hold a learned token as `token` (N, D), alone or besides.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cavtool.errors import IntegrityFailure
from cavtool.system.safetensors import is_whole, read_header

_PREFIXES = ("unet.", "transformer.", "transformer_2.")
_A, _B = ".lora_A.weight", ".lora_B.weight"
_TOKEN = "token"  # noqa: S105 a key, not a secret
# The type that numpy reads, and the bits of the exponent, all of which are set in NaN and infinity.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
_SHOWN_DIMENSIONS = 4
_CHUNK = 1 << 24  # numbers to check at a time


def check_weights(path: Path, name: str, kind: str) -> None:
    """Raise IntegrityFailure unless the file holds complete, finite weights of a motion or an absorber (`kind`)."""
    try:
        header = read_header(path)
    except IntegrityFailure as failure:
        raise IntegrityFailure(f"the weights of `{name}` are not a readable safetensors file") from failure
    metadata = header.pop("__metadata__", {})
    reason = next(_problems(header, metadata, kind), "") or ("" if is_whole(path) else "the file is truncated")
    reason = reason or _damage(path) or next(_not_finite(path, header), "")
    if reason:
        raise IntegrityFailure(f"the weights of `{name}` are not usable: {reason}")


def _problems(tensors: Mapping[str, Any], metadata: object, kind: str) -> Iterator[str]:
    ours = [key for key in tensors if key.startswith(_PREFIXES)]
    layers = dict.fromkeys(key.removesuffix(end) for end in (_A, _B) for key in ours if key.endswith(end))
    token = tensors.get(_TOKEN) if kind == "absorber" else None
    if not layers and token is None:
        yield "the file holds no LoRA" if kind == "motion" else "the file holds no absorber"
    if token is not None and (len(token["shape"]) != 2 or 0 in token["shape"]):
        yield f"its token has shape {_shape_text(token['shape'])}"
    for layer in layers:
        down, up = (tensors.get(layer + end, {}).get("shape") for end in (_A, _B))
        if not down or not up or len(down) != 2 or len(up) != 2 or down[0] != up[1] or 0 in (*down, *up):
            shapes = " and ".join(_shape_text(shape) for shape in (down, up))
            yield f"the matrices of `{layer}` do not fit each other: {shapes}"
    for key, entry in tensors.items():
        if entry["dtype"] not in _EXPONENTS:
            yield f"`{key}` is of type {entry['dtype']}"
    if isinstance(metadata, dict) and not _is_finite(metadata.get("lora_adapter_metadata")):
        yield "their scale is not finite"


def _shape_text(shape: list[int] | None) -> str:
    """The shape of a tensor, cut short after a few dimensions."""
    return "missing" if not shape else str(shape) if len(shape) <= _SHOWN_DIMENSIONS else f"{len(shape)} dimensions"


def _damage(path: Path) -> str:
    """Why the library that loads the weights refuses the file; empty if it does not.

    It checks that the tensors have the bytes of their shapes, do not overlap, and leave no gap.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):
            return ""
    except SafetensorError as error:
        return str(error).removeprefix("Error while deserializing header: ")


def _is_finite(text: object) -> bool:
    """Whether all numbers in a text of JSON are finite; True for any other text."""
    found: list[float] = []

    def read(number: str) -> float:
        found.append(float(number))
        return found[-1]

    try:
        json.loads(str(text), parse_int=read, parse_float=read, parse_constant=read)
    except (ValueError, RecursionError):
        return True
    return all(map(math.isfinite, found))


def _not_finite(path: Path, tensors: Mapping[str, Any]) -> Iterator[str]:
    """The tensors that hold NaN or infinity."""
    import numpy as np  # loaded here because `cav list` does not need it

    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    for key, entry in tensors.items():
        kind, exponent = _EXPONENTS[entry["dtype"]]
        begin, end = entry["data_offsets"]
        size = (end - begin) // np.dtype(kind).itemsize
        numbers = np.memmap(path, kind, "r", start + begin, (size,)) if size else np.zeros(0, kind)
        chunks = (numbers[at : at + _CHUNK] for at in range(0, size, _CHUNK))
        if any(((chunk & exponent) == exponent).any() for chunk in chunks):
            yield f"`{key}` holds NaN or infinity"
