"""Motions and absorbers on disk, one folder each."""

from cavtool.registry.asset import Asset
from cavtool.registry.record import Clip, Kind, Origin, Parent, Record, UsedAbsorber
from cavtool.registry.store import Registry

__all__ = ["Asset", "Clip", "Kind", "Origin", "Parent", "Record", "Registry", "UsedAbsorber"]
