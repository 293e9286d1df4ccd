"""Existing absorbers by name or file, made ready for a base model: `learn --absorber` and `generate --style`."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cavtool.core.adapters.absorber import TOKEN
from cavtool.core.adapters.existing import first_few, fit_absorber, kind_of
from cavtool.core.adapters.lora import LoraState, targets
from cavtool.core.formats import AbsorberFile, dreambooth, read_absorber, wan
from cavtool.errors import counted
from cavtool.events import Note, OnEvent, Warn
from cavtool.recipes import Absorber
from cavtool.registry import Asset
from cavtool.registry.absorbers import find_absorber
from cavtool.studio.session import Session, check_model
from cavtool.system.checksums import file_sha256
from cavtool.workspace import Workspace


@dataclass(frozen=True)
class Appearance:
    """An absorber that fits the model: its state, and what a record of its use says, without a path."""

    used: Absorber
    state: LoraState


def load_absorbers(
    requested: Sequence[Absorber], session: Session, workspace: Workspace, on_event: OnEvent
) -> list[Appearance]:
    """Read absorbers and fit them to the model; reports entries that are not used.

    Raises NotFound, IntegrityFailure, Incompatible for another base model, InvalidInput for a weight without effect.
    """
    return [_load(absorber, session, workspace, on_event) for absorber in requested]


def _load(requested: Absorber, session: Session, workspace: Workspace, on_event: OnEvent) -> Appearance:
    name, content_id, found = _read(requested, session, workspace, on_event)
    state, unused = fit_absorber(session.backbone, found, requested.weight, name=name, model=session.model.name)
    if requested.content_id not in {"", content_id}:
        on_event(Warn(f"`{name}` has been replaced since: the result will differ"))
    if unused:
        entries = counted(len(unused), "entry", "entries")
        on_event(Note(f"not used: {entries} of `{name}` without a matching spatial layer: {first_few(unused)}"))
    if session.backbone.expert_boundary and (expert := wan.only_expert(targets(state))):
        on_event(Note(f"`{name}` applies to the {expert} expert only: if there is a file for the other, pass it too"))
    if requested.weight != 1 and TOKEN in state:
        on_event(Warn(f"the weight of `{name}` applies to its LoRA only: a learned token has none"))
    return Appearance(replace(requested, name=name, content_id=content_id, kind=kind_of(state)), state)


def _read(
    requested: Absorber, session: Session, workspace: Workspace, on_event: OnEvent
) -> tuple[str, str, AbsorberFile]:
    """Name, content id and content of an asset or file."""
    if isinstance(path := find_absorber(workspace.registry, requested), Path):
        return path.resolve().name, _sha256(path, workspace), read_absorber(path)

    def use(asset: Asset) -> tuple[str, str, AbsorberFile]:
        check_model(asset, session.model, on_event)
        asset.read_weights()  # raises if they are damaged
        return asset.record.name, asset.record.content_id, read_absorber(asset.weights)

    return workspace.registry.read(requested.name, use, "absorber")


def _sha256(path: Path, workspace: Workspace) -> str:
    """The SHA-256 of a file; of the files of a folder, that of their hashes unless it is one."""
    files = dreambooth.files(path) if path.is_dir() else (path,)
    hashes: Iterator[str] = (file_sha256(file, workspace.places.cache) for file in files)
    first, *others = hashes
    return hashlib.sha256("".join([first, *others]).encode()).hexdigest() if others else first
