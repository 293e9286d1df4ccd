"""The base models `cav` knows by name, and every other one by the path of its folder."""

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from cavtool.errors import NotFound, closest
from cavtool.models import folder as pipeline
from cavtool.models.folder import Description, NativeClip


@dataclass(frozen=True)
class Model:
    """A diffusers pipeline folder and its name; everything else is read from the folder when first used.

    `cache` is the folder in which the checksums of its weights are kept between processes; None keeps them in memory.
    Every property raises IntegrityFailure if the files it is read from are damaged or missing.
    """

    name: str
    folder: Path
    cache: Path | None = field(default=None, compare=False)

    @property
    def address(self) -> str:
        """A name or path by which `find_model` finds this model from every working directory."""
        return self.name if CATALOGUE.get(self.name) == self else str(self.folder.resolve())

    @cached_property
    def clip(self) -> NativeClip:
        """Frames, frames per second and size in pixels of the clips the model was made for."""
        return pipeline.native_clip(self.folder, self._description)

    @property
    def enlarge(self) -> int:
        """How many times larger than the native size its videos are written, unless the user says otherwise."""
        return self._description.enlarge

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of the prompt that the model was not trained on, each once; empty if the model lists no words."""
        words = self._description.words
        if words is None:
            return []
        return [word for word in dict.fromkeys(re.findall(r"[^\W_]+", prompt.lower())) if word not in words]

    @cached_property
    def fingerprint(self) -> str:
        """The architecture: a hash of the denoiser's tensor names and shapes, 16 hex digits."""
        return pipeline.fingerprint(self.folder)

    @cached_property
    def revision(self) -> str:
        """The denoiser's weights: their SHA-256, 12 hex digits."""
        return pipeline.revision(self.folder, self.cache)

    @cached_property
    def _description(self) -> Description:
        return pipeline.read_description(self.folder)


CATALOGUE = {"cav-mini": Model("cav-mini", Path(__file__).parents[1] / "mini" / "weights")}


def find_model(name: str, *, cache: Path | None = None) -> Model:
    """A model by its name, or by the path of a diffusers pipeline folder. Raises NotFound.

    `cache` is the folder for the checksums of its weights. The path of a model that has a name gives the named one.
    """
    if name in CATALOGUE:
        return replace(CATALOGUE[name], cache=cache)
    try:
        folder = Path(name).expanduser().resolve()
    except RuntimeError:  # `~nobody`
        folder = Path(name)
    for model in CATALOGUE.values():
        if model.folder.resolve() == folder:
            return replace(model, cache=cache)
    if (folder / "model_index.json").exists():
        return Model(folder.name, folder, cache)
    hint = closest(name, CATALOGUE, f"known: {', '.join(CATALOGUE)}; or give a diffusers pipeline folder")
    raise NotFound(f"no model `{name}`", hint=hint)
