"""Properties of a model, read from its diffusers pipeline folder: native clip, words, architecture, weights.

Frames, rate, enlargement and words are not in any config of diffusers; a folder may state them in `cav.json`:
`{"num_frames": 16, "fps": 8, "enlarge": 4, "words": ["a", "cat"], "steps": 25, "guidance": 3, "noise_from": 0.7}`,
every key optional.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cavtool.errors import IntegrityFailure, reason_of
from cavtool.models.family import ADAPTER, Native
from cavtool.system.checksums import file_sha256
from cavtool.system.files import read_text
from cavtool.system.safetensors import find_weights, tensor_shapes

DESCRIPTION = "cav.json"
WORDS = "words.json"  # the words alone, in folders without `cav.json`
_DENOISERS = ("unet", ADAPTER, "transformer", "transformer_2")
_WHOLE_NUMBERS = ("num_frames", "enlarge", "steps", "width", "height")
_MAY_BE_ZERO = ("guidance", "noise_from")
_ENDS = {"noise_from": 1.0}
_NUMBERS = ("fps", "guidance", "noise_from")


@dataclass(frozen=True)
class Description:
    """The content of `cav.json`; None for what it does not say. `words` is None if any word will do.

    `width` and `height` are for models without a UNet, whose config would say them.
    """

    num_frames: int | None = None
    fps: float | None = None
    steps: int | None = None
    guidance: float | None = None
    noise_from: float | None = None
    enlarge: int = 1
    width: int | None = None
    height: int | None = None
    words: frozenset[str] | None = None


def read_description(folder: Path) -> Description:
    """The folder's `cav.json`, with defaults for missing keys. Raises IntegrityFailure if it is damaged."""
    file = folder / DESCRIPTION
    with _explain(file):
        values = json.loads(read_text(file)) if file.exists() else {"words": _listed_words(folder)}
        numbers = {key: _number(key, values[key]) for key in (*_WHOLE_NUMBERS, *_NUMBERS) if key in values}
        words = values.get("words")
        return Description(**numbers, words=None if words is None else frozenset(words))


def write_description(
    folder: Path, *, num_frames: int, fps: float, enlarge: int, words: Iterable[str], **usual: float
) -> None:
    """Write `cav.json` into a pipeline folder; `usual` may have `steps`, `guidance` and `noise_from`."""
    values = {"num_frames": num_frames, "fps": fps, "enlarge": enlarge, **usual, "words": list(words)}
    (folder / DESCRIPTION).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_native(folder: Path, description: Description, usual: Native, *, known_size: bool = False) -> Native:
    """How the model in the folder is used: `usual`, changed by its UNet's config, then by its `cav.json`.

    Unless the size is known, it is the UNet's `sample_size` in latents times the VAE's downscale factor; models without
    a UNet have that of their `cav.json`, or the usual one. Raises IntegrityFailure if a config cannot be read.
    """
    clip = replace(usual.clip, **_stated(description, "num_frames", "fps"))
    if (folder / "unet").is_dir():
        size = _unet_size(folder)
        clip = replace(clip, **({"multiple": size["multiple"]} if known_size else size))
    else:
        clip = replace(clip, **_video_vae_steps(folder), **_stated(description, "width", "height"))
    return replace(usual, clip=clip, **_stated(description, "steps", "guidance", "noise_from"))


def _stated(description: Description, *keys: str) -> dict[str, Any]:
    return {key: value for key in keys if (value := getattr(description, key)) is not None}


def _video_vae_steps(folder: Path) -> dict[str, int]:
    """The steps in which frames and sides can be chosen with a VAE that compresses time, and a transformer's patches.

    Configs of older versions of diffusers do not state the VAE's factors, which were 4 and 8 then.
    """
    vae, transformer = _read_config(folder / "vae"), _read_config(folder / "transformer")
    with _explain(folder / "transformer" / "config.json"):
        multiple = int(vae.get("scale_factor_spatial", 8)) * int(transformer.get("patch_size", [1, 2, 2])[1])
        return {"multiple": multiple, "frame_step": int(vae.get("scale_factor_temporal", 4))}


def _unet_size(folder: Path) -> dict[str, int]:
    """Width and height in pixels, unless the UNet's config has no `sample_size`, and the step of both."""
    unet, vae = _read_config(folder / "unet"), _read_config(folder / "vae")
    with _explain(folder / "vae" / "config.json"):
        widths = vae.get("block_out_channels") or vae["encoder_block_out_channels"]
        factor = 2 ** (len(widths) - 1)
    with _explain(folder / "unet" / "config.json"):
        multiple = factor * 2 ** (len(unet["block_out_channels"]) - 1)
        if not (latents := unet.get("sample_size")):
            return {"multiple": multiple}
        height, width = latents if isinstance(latents, list) else (latents, latents)
        return {"width": int(factor * width), "height": int(factor * height), "multiple": multiple}


def fingerprint(folder: Path) -> str:
    """A hash of the denoiser's tensor names and shapes, 16 hex digits. Raises IntegrityFailure.

    An image UNet beside a motion adapter has the fingerprint of the `UNetMotionModel` that the two make. A model of two
    experts has another fingerprint than a model that is like its first expert.
    """
    shapes = tensor_shapes(_denoiser_files(folder))
    if (folder / "transformer_2").is_dir():
        shapes["transformer_2"] = []
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:16]


def denoiser_shapes(folder: Path) -> dict[str, list[int]]:
    """The shapes of the denoiser's parameters by name, which begins with the folder of a transformer.

    Raises IntegrityFailure.
    """
    shapes: dict[str, list[int]] = {}
    for part in _DENOISERS:
        if (folder / part).is_dir() and (weights := find_weights(folder / part)):
            prefix = f"{part}." if part.startswith("transformer") else ""
            shapes |= {prefix + name: shape for name, shape in tensor_shapes(weights.files).items()}
    return shapes


def revision(folder: Path, cache: Path | None = None) -> str:
    """The SHA-256 of the denoiser's weights, of several files that of their hashes: 12 hex digits.

    `cache` is the folder for the checksums of the files. Raises IntegrityFailure.
    """
    files = _denoiser_files(folder)
    with _explain(folder / "unet"):
        hashes = [file_sha256(file, cache) for file in files]
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return whole[:12]


def _denoiser_files(folder: Path) -> list[Path]:
    """The files with the denoiser's weights; those of a motion adapter or a second expert come last."""
    parts = [part for part in map(folder.joinpath, _DENOISERS) if part.is_dir()]
    found = [find_weights(part) for part in parts]
    files = [file for weights in found if weights for file in weights.files]
    if not files:
        raise IntegrityFailure(f"`{folder}` has no safetensors weights of a denoiser")
    return files


def _listed_words(folder: Path) -> list[str] | None:
    file = folder / WORDS
    return list(json.loads(read_text(file))) if file.exists() else None


def _number(key: str, value: Any) -> Any:
    kinds = int if key in _WHOLE_NUMBERS else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < _ENDS.get(key, math.inf):
        raise ValueError(f"{key} is {value!r}")
    if not value and key not in _MAY_BE_ZERO:
        raise ValueError(f"{key} is 0")
    return value if key in _WHOLE_NUMBERS else float(value)


def _read_config(part: Path) -> dict[str, Any]:
    with _explain(part / "config.json"):
        return dict(json.loads(read_text(part / "config.json")))


@contextmanager
def _explain(file: Path) -> Iterator[None]:
    """Raises IntegrityFailure in place of every error from reading a file of the model."""
    try:
        yield
    except (OSError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        hint = "the file is damaged: download or save the model again"
        raise IntegrityFailure(f"cannot read `{file}`: {reason_of(error)}", hint=hint) from error
