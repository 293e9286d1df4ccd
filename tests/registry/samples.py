"""Sample assets, and the jobs of processes that change a registry."""

import hashlib
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Loaded once, before the nursery forks.
import filelock
import tomlkit  # noqa: F401

from cavtool.errors import Conflict, NotFound
from cavtool.registry import Asset, Clip, Parent, Record, Registry, trash

CLIP = Clip(sha256="ab" * 32, start=0.5, duration=2.0, fps=8.0, num_frames=16, width=64, height=64)
DRAFT = Record(
    name="twirl",
    kind="motion",
    origin="learned",
    base_model="cav-mini",
    fingerprint="f00d",
    revision="1",
    prompt='a "white" lantern\ntwirls → on the moon',
    appearance="a white lantern on the moon",
    rank=32,
    recipe={"steps": 250, "lr": 1.5e-3, "kind": "dual", "nested_values": False},
    metrics={"loss": 0.25, "fidelity": 1.0},
    clip=CLIP,
)
MIX = replace(
    DRAFT,
    origin="mixed",
    clip=None,
    parents=(
        Parent(name="twirl", content_id="12" * 32, weight=0.7),
        Parent(name="zigzag", content_id="34" * 32, weight=-1.0),
    ),
)


def content(seed: int, name: str) -> bytes:
    """The content of the file `name` of the asset made from `seed`; for some seeds more than one chunk of a copy."""
    drawn = random.Random(f"{seed} {name}").randbytes(1000 if name == "reference.mp4" else 30_000 + seed % 7 * 40_000)
    return drawn if name == "reference.mp4" else lora_file(drawn)


def lora_file(drawn: bytes) -> bytes:
    """A safetensors file of a LoRA of rank 1 whose numbers are made of an even number of bytes, and are finite."""
    half = len(drawn) // 4  # numbers of A and of B
    data = bytearray(drawn[: 4 * half])
    data[1::2] = b"\x3f" * (2 * half)  # the sign and most of the exponent of a BF16
    shapes = {"A": [1, half], "B": [half, 1]}
    header = {
        f"unet.layer.lora_{which}.weight": {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": [2 * half * index, 2 * half * (index + 1)],
        }
        for index, (which, shape) in enumerate(shapes.items())
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def sources(folder: Path, seed: int) -> dict[str, Path]:
    """The files of the asset made from `seed`, as a training leaves them."""
    made = folder / f"made-{seed}"
    made.mkdir(parents=True, exist_ok=True)
    files = {name: made / f"some-{name}" for name in ("weights.safetensors", "reference.mp4")}
    for name, path in files.items():
        path.write_bytes(content(seed, name))
    return files


def put(root: str | Path, name: str, seed: int, *, replace_it: bool = False, **changes: Any) -> Asset:
    """Put the asset made from `seed`."""
    files = sources(Path(root).parent / "sources", seed)
    return Registry(Path(root)).put(replace(DRAFT, name=name, **changes), files, replace=replace_it)


def put_over(root: str | Path, name: str, seed: int) -> None:
    """Put the asset made from `seed`, replacing an older one."""
    put(root, name, seed, replace_it=True)


def put_without_space(root: str | Path, name: str, seed: int) -> None:
    """The same with a file size limit of 20 kB."""
    import resource

    files = sources(Path(root).parent / "sources", seed)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    Registry(Path(root)).put(replace(DRAFT, name=name), files, replace=True)


def put_many(root: str | Path, name: str, first_seed: int, count: int) -> None:
    """Replace the asset `count` times."""
    for seed in range(first_seed, first_seed + count):
        put_over(root, name, seed)


def replace_for(root: str | Path, name: str, seconds: float) -> None:
    """Replace the asset without pause."""
    end = time.monotonic() + seconds
    for seed in itertools.cycle(range(7)):
        put_over(root, name, seed)
        if time.monotonic() > end:
            return


def remove(root: str | Path, name: str) -> None:
    """Remove the asset."""
    Registry(Path(root)).remove(name)


def rename(root: str | Path, name: str, to: str) -> None:
    """Rename the asset."""
    Registry(Path(root)).rename(name, to)


def annotate(root: str | Path, name: str, note: str) -> None:
    """Set the note of the asset."""
    Registry(Path(root)).annotate(name, note=note)


def restore(root: str | Path, name: str) -> None:
    """Restore the asset from the trash."""
    trash.restore(Registry(Path(root)), name)


SHARED_NAMES = ("twirl", "swing", "zigzag", "circle", "spiral")  # that several processes use at once
SEEDS_EACH = 6
_MOST_SEEDS = 2_000


def operate_at_random(root: str | Path, number: int, seconds: float) -> None:
    """Do random operations on the same few names, as one of several processes.

    Every asset read must be complete. Writes `tally-NUMBER.json` next to the registry: how often each operation
    succeeded and was refused.
    """
    draw, registry, tally = random.Random(number), Registry(Path(root)), Counter[str]()
    seeds = range(
        number * SEEDS_EACH, (number + 1) * SEEDS_EACH
    )  # own seeds, because each put writes its sources again
    acts: dict[str, Callable[[str, str], object]] = {
        "put": lambda name, _: put_over(root, name, draw.choice(seeds)),
        "copy": lambda name, other: registry.copy(name, other, replace=True),
        "rename": registry.rename,
        "remove": lambda name, _: registry.remove(name),
        "restore": lambda name, other: trash.restore(registry, name, to=draw.choice((None, other))),
        "empty": lambda _, __: tally.update(emptied=len(trash.empty(registry, trash.list_trash(registry)[:2]))),
        "list": lambda _, __: [registry.read(asset.record.name, seed_of) for asset in registry.list()],
        "read": lambda name, _: registry.read(name, seed_of),
    }
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        act, (name, other) = draw.choice(list(acts)), draw.sample(SHARED_NAMES, 2)
        try:
            acts[act](name, other)
            tally[act] += 1
        except (NotFound, Conflict):
            tally[f"{act} refused"] += 1
        if registry.broken():
            raise ValueError(f"broken: {registry.broken()}")
    (Path(root).parent / f"tally-{number}.json").write_text(json.dumps(tally))


def tally_of(root: Path) -> Counter[str]:
    """The sum of the tallies of all processes."""
    tallies = [json.loads(path.read_text()) for path in root.parent.glob("tally-*.json")]
    return sum(map(Counter, tallies), Counter())


def hold(root: str | Path, seconds: float) -> None:
    """Hold the lock for some seconds, as a slow writer does."""
    with filelock.FileLock(Path(root) / ".lock"):
        time.sleep(seconds)


def seed_of(asset: Asset) -> int:
    """The seed the asset was made from. Raises ValueError unless all its files are of one version."""
    weights, reference = asset.weights.read_bytes(), asset.reference.read_bytes()
    if hashlib.sha256(weights).hexdigest() != asset.record.content_id:
        raise ValueError("weights of another version")
    seed = next((seed for seed in range(_MOST_SEEDS) if content(seed, "reference.mp4") == reference), None)
    if seed is None or content(seed, "weights.safetensors") != weights:
        raise ValueError("reference of another version")
    return seed
