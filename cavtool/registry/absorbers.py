"""Which absorber a user means: an asset, or a file that another tool wrote."""

from pathlib import Path

from cavtool.errors import IntegrityFailure, NotFound
from cavtool.recipes.absorb import WEIGHT_FILES, Absorber
from cavtool.registry.asset import Asset
from cavtool.registry.store import Registry


def find_absorber(registry: Registry, requested: Absorber) -> Asset | Path:
    """The asset of that name, or the path of a file with weights or of a folder.

    Raises NotFound if there is none, IntegrityFailure for a file that is not one of weights.
    """
    if requested.is_file:
        return _find_file(requested.name)
    try:
        return registry.get(requested.name, "absorber")
    except NotFound as missing:
        if Path(requested.name).exists():
            raise NotFound(missing.message, hint=f"write `./{requested.name}` for the folder") from missing
        raise


def _find_file(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        raise NotFound(f"no file `{name}`", hint="give the path of a file with weights, or the name of an absorber")
    if not (path.is_file() or path.is_dir()):
        raise IntegrityFailure(f"`{name}` is a pipe or a device, not a file", hint="save the weights as a file first")
    if path.is_file() and path.suffix.lower() not in WEIGHT_FILES:
        hint = f"`cav absorb NAME {name}` makes an absorber of a video or of pictures"
        if path.suffix.lower() == ".cav":
            hint = f"`cav import {name}` adds what is in it; then give its name"
        raise IntegrityFailure(f"`{name}` is not a file of weights ({', '.join(WEIGHT_FILES)})", hint=hint)
    return path
