"""Properties of a model, read from its diffusers pipeline folder: native clip, words, architecture, weights.

Frames, rate, enlargement and words are not in any config of diffusers; a folder may state them in `cav.json`:
`{"num_frames": 16, "fps": 8, "enlarge": 4, "words": ["a", "cat"]}`, every key optional.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cavtool.errors import IntegrityFailure
from cavtool.system.checksums import file_sha256
from cavtool.system.safetensors import find_weights, tensor_shapes

DESCRIPTION = "cav.json"
WORDS = "words.json"  # the words alone, in folders without `cav.json`
_DEFAULT_SIDE = 256  # pixels, if the UNet's config has no `sample_size`
_NUMBERS = ("num_frames", "fps", "enlarge", "width", "height")
_DENOISERS = ("unet", "motion_adapter", "transformer", "transformer_2")


@dataclass(frozen=True)
class NativeClip:
    """The clips a model was made for; width and height in pixels."""

    num_frames: int
    fps: float
    width: int
    height: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.num_frames / self.fps


@dataclass(frozen=True)
class Description:
    """The content of `cav.json`. The defaults fit ModelScope and AnimateDiff; `words` is None if any word will do.

    `width` and `height` are for models without a UNet, whose config would say them.
    """

    num_frames: int = 16
    fps: float = 8.0
    enlarge: int = 1
    width: int = 832
    height: int = 480
    words: frozenset[str] | None = None


def read_description(folder: Path) -> Description:
    """The folder's `cav.json`, with defaults for missing keys. Raises IntegrityFailure if it is damaged."""
    file = folder / DESCRIPTION
    with _explain(file):
        values = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"words": _listed_words(folder)}
        numbers = {key: _positive(key, values[key]) for key in _NUMBERS if key in values}
        words = values.get("words")
        return Description(**numbers, words=None if words is None else frozenset(words))


def write_description(folder: Path, *, num_frames: int, fps: float, enlarge: int, words: Iterable[str]) -> None:
    """Write `cav.json` into a pipeline folder."""
    values = {"num_frames": num_frames, "fps": fps, "enlarge": enlarge, "words": list(words)}
    (folder / DESCRIPTION).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def native_clip(folder: Path, description: Description) -> NativeClip:
    """The native clip: its size is the UNet's `sample_size` in latents times the VAE's downscale factor.

    Without a UNet, its size is that of the description. Raises IntegrityFailure if the config of the UNet or the VAE
    cannot be read.
    """
    if not (folder / "unet").is_dir():
        return NativeClip(description.num_frames, description.fps, description.width, description.height)
    unet, vae = _read_config(folder / "unet"), _read_config(folder / "vae")
    with _explain(folder / "vae" / "config.json"):
        widths = vae.get("block_out_channels") or vae["encoder_block_out_channels"]
        factor = 2 ** (len(widths) - 1)
    with _explain(folder / "unet" / "config.json"):
        latents = unet.get("sample_size") or _DEFAULT_SIDE // factor
        height, width = latents if isinstance(latents, list) else (latents, latents)
        return NativeClip(description.num_frames, description.fps, int(factor * width), int(factor * height))


def fingerprint(folder: Path) -> str:
    """A hash of the denoiser's tensor names and shapes, 16 hex digits. Raises IntegrityFailure.

    An image UNet beside a motion adapter has the fingerprint of the `UNetMotionModel` that the two make. A model of two
    experts has another fingerprint than a model that is like its first expert.
    """
    shapes = tensor_shapes(_denoiser_files(folder))
    if (folder / "transformer_2").is_dir():
        shapes["transformer_2"] = []
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:16]


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
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


def _positive(key: str, value: Any) -> Any:
    kinds = (int, float) if key == "fps" else int
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
        raise ValueError(f"{key} is {value!r}")
    return float(value) if key == "fps" else value


def _read_config(part: Path) -> dict[str, Any]:
    with _explain(part / "config.json"):
        return dict(json.loads((part / "config.json").read_text(encoding="utf-8")))


@contextmanager
def _explain(file: Path) -> Iterator[None]:
    """Raises IntegrityFailure in place of every error from reading a file of the model."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise IntegrityFailure(f"cannot read `{file}`: {error}") from error
