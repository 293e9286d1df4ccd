"""A base model: its folder, and everything that is read from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from cavtool.models import folder as pipeline
from cavtool.models.catalogue import Entry
from cavtool.models.family import FAMILIES, Native, NativeClip, check_clip, detect_family
from cavtool.models.folder import Description


@dataclass(frozen=True)
class Model:
    """A diffusers pipeline folder and its name; everything else is read from the folder when first used.

    `cache` is the folder in which the checksums of its weights are kept between processes; None keeps them in memory.
    `named` is how `find_model` finds it from every working directory, if not by its path. `commit` is that of its
    repository on the Hub (two with a plus between them, if a motion adapter has its own), `entry` what the catalogue
    knows of it, `chosen` what the user chose of its clips (`num_frames`, `width`, `height`). Every property raises
    IntegrityFailure if the files it is read from are damaged or missing.
    """

    name: str
    folder: Path
    cache: Path | None = field(default=None, compare=False)
    named: str = field(default="", compare=False)
    commit: str = field(default="", compare=False)
    entry: Entry | None = field(default=None, compare=False)
    chosen: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def address(self) -> str:
        """A name or path by which `find_model` finds this model from every working directory."""
        return self.named or str(self.folder.resolve())

    @cached_property
    def family(self) -> str:
        """A key of FAMILIES. Raises Incompatible for a model of another kind."""
        return detect_family(self.folder, self.name)

    @cached_property
    def native(self) -> Native:
        """How the model is used unless the user says otherwise. Raises Incompatible for clips that it cannot make."""
        known = self.entry.native if self.entry else None
        usual = known or FAMILIES[self.family].native
        native = pipeline.read_native(self.folder, self._description, usual, known_size=known is not None)
        clip = replace(native.clip, **self.chosen)
        check_clip(clip, self.family, self.name)
        return replace(native, clip=clip)

    @property
    def clip(self) -> NativeClip:
        """Frames, frames per second and size in pixels of the clips the model was made for."""
        return self.native.clip

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
