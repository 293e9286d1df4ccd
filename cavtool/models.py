"""The base models `cav` knows: where they are, and the clip they were made for."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cavtool.errors import IntegrityFailure, NotFound, closest

WORDS = "words.json"  # beside `model_index.json`: all the words a model of few was taught
_MINI = Path(__file__).parent / "mini" / "weights"


@dataclass(frozen=True)
class Model:
    """A base model on this machine and its native clip; `enlarge` is how much bigger its videos are written."""

    name: str
    folder: Path
    num_frames: int = 16
    fps: float = 8.0
    width: int = 256
    height: int = 256
    enlarge: int = 1

    @property
    def seconds(self) -> float:
        """The native clip's length."""
        return self.num_frames / self.fps

    @property
    def address(self) -> str:
        """What `find_model` finds it by, wherever it is asked."""
        return self.name if CATALOGUE.get(self.name) == self else str(self.folder.resolve())

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of the prompt the model was never taught, each once; none of a model that does not list its words."""
        try:
            words = set(json.loads((self.folder / WORDS).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return []
        return [word for word in dict.fromkeys(re.findall(r"[^\W_]+", prompt.lower())) if word not in words]

    @cached_property
    def fingerprint(self) -> str:
        """The architecture: a hash of the denoiser's tensor names and shapes, 16 hex. Raises IntegrityFailure."""
        shapes = {name: entry["shape"] for name, entry in _header(self._denoiser).items() if name != "__metadata__"}
        return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def revision(self) -> str:
        """The denoiser's weights: their sha256, 12 hex; read once, for they may be gigabytes."""
        with self._denoiser.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]

    @property
    def _denoiser(self) -> Path:
        return self.folder / "unet" / "diffusion_pytorch_model.safetensors"


CATALOGUE = {"cav-mini": Model("cav-mini", _MINI, width=64, height=64, enlarge=4)}


def find_model(name: str) -> Model:
    """A model by its name, or by the path of a diffusers pipeline folder. Raises NotFound."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # `~nobody`
        folder = Path(name)
    if (folder / "model_index.json").exists():
        return Model(folder.resolve().name, folder.resolve())
    hint = closest(name, CATALOGUE, f"known: {', '.join(CATALOGUE)}; or give a diffusers pipeline folder")
    raise NotFound(f"no model `{name}`", hint=hint)


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    """A safetensors file's header: 8 bytes of length, then JSON (the format's spec)."""
    try:
        with path.open("rb") as file:
            header: dict[str, dict[str, list[int]]] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            return header
    except (OSError, ValueError) as error:
        raise IntegrityFailure(f"`{path}` is not a readable safetensors file") from error
