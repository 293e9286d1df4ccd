"""cav-mini 2 from a training's folder, before it ships."""

from pathlib import Path

from cavtool.core.backbones import open_backbone
from cavtool.models import Model
from cavtool.studio.session import Session


def open_folder(folder: Path) -> Session:
    """A session of a pipeline folder that makes 16 frames of 64x64."""
    return Session(Model("cav-mini", folder), open_backbone(folder))
