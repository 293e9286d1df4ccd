"""Base models: those that `cav` knows by name, and the properties it reads from a model folder."""

from cavtool.models.catalogue import CATALOGUE, Model, find_model
from cavtool.models.folder import DESCRIPTION, WORDS, NativeClip, write_description

__all__ = ["CATALOGUE", "DESCRIPTION", "WORDS", "Model", "NativeClip", "find_model", "write_description"]
