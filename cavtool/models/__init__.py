"""Base models: those that `cav` knows by name, those a user adds, and the properties it reads from a model folder."""

from cavtool.models.catalogue import CATALOGUE
from cavtool.models.family import NativeClip
from cavtool.models.folder import DESCRIPTION, WORDS, write_description
from cavtool.models.model import Model
from cavtool.models.store import Models, find_model

__all__ = ["CATALOGUE", "DESCRIPTION", "WORDS", "Model", "Models", "NativeClip", "find_model", "write_description"]
