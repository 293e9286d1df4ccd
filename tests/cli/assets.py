"""Small motions and absorbers, in a real registry."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cavtool.registry import Asset, Clip, Kind, Record, Registry
from tests.registry.samples import lora_file


def put_motion(
    home: Path, name: str, *, kind: Kind = "motion", videos: dict[str, Path] | None = None, clip: Clip | None = None
) -> Asset:
    """Put a motion or absorber of a few bytes into the registry of `home`."""
    record = Record(
        name=name,
        kind=kind,
        origin="learned",
        base_model="cav-mini",
        fingerprint="f" * 12,
        revision="r" * 12,
        prompt="a white lantern twirls on the moon",
        appearance="a white lantern on the moon",
        rank=4,
        recipe={"steps": 250, "lr": 1.5e-3, "seed": 0},
        metrics={"loss": 0.125},
        clip=clip,
    )
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        weights.write_bytes(lora_file(b"\1\2\3\4" * 4))
        return Registry(home / "data" / "assets").put(record, {"weights.safetensors": weights, **(videos or {})})


def listed_names(cav: Callable[..., Any], **options: Any) -> list[str]:
    """The names that `cav list` shows."""
    return [asset["name"] for asset in json.loads(cav("list", "--json", **options).stdout)]
