"""What a training sees, rendered by processes beside it.

`python -m cavtool.mini2.training.rendering WORK PARENT K N stills=60000 clips=12000` is process K of N. It writes
every Nth chunk of consecutive scenes as `WORK/stills/000000.npz` or `WORK/clips/000000.npz`; the training takes each in
as soon as it is there. It imports no torch, and ends when the process PARENT has.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cavtool.mini2.training.plans import CLIP_SEEDS, STILL_SEEDS
from cavtool.mini2.world.motions import CAMERA_CONTROLS, SUBJECT_CONTROLS
from cavtool.mini2.world.sampling import sample_scene, sample_still
from cavtool.mini2.world.scenes import NUM_FRAMES, SIZE, Frames, Scene, render

CONTROLS = (*SUBJECT_CONTROLS, *CAMERA_CONTROLS)
_USUAL = {  # distances
    **dict.fromkeys(("x", "y"), 0.15),
    **dict.fromkeys(("log_scale", "log_distance", "log_focal"), 0.25),
    **dict.fromkeys(("roll", "yaw"), 40.0),
    **dict.fromkeys(("azimuth", "elevation", "pan", "tilt"), 10.0),
}


@dataclass(frozen=True)
class Kind:
    """A kind of scene: how one is drawn, from which seed on, how many frames it has, and how many make a chunk."""

    sample: Callable[[int], Scene]
    first_seed: int
    num_frames: int
    chunk: int


KINDS = {"stills": Kind(sample_still, STILL_SEEDS, 1, 2048), "clips": Kind(sample_scene, CLIP_SEEDS, NUM_FRAMES, 128)}


@dataclass(frozen=True)
class Drawn:
    """A rendered scene.

    `frames` (F, H, W, 3); `caption`; `discs` (F, 3): x, y and radius of the subject, in frame widths from the upper
    left corner; how everything `moves` about its mean (F, 11), in usual distances.
    """

    frames: Frames
    caption: str
    discs: NDArray[np.float32]
    moves: NDArray[np.float32]


def draw(kind: str, seed: int) -> Drawn:
    """Render the scene of a seed."""
    num_frames = KINDS[kind].num_frames
    scene = KINDS[kind].sample(seed)
    x, y, log_scale = (scene.channels[name][:num_frames] for name in ("x", "y", "log_scale"))
    discs = np.stack([0.5 + x, 0.5 + y, 0.5 * SIZE * np.exp(log_scale)], axis=1)
    return Drawn(render(scene, num_frames), scene.caption, discs.astype(np.float32), moves_of(scene)[:num_frames])


def moves_of(scene: Scene) -> NDArray[np.float32]:
    """How everything moves about its mean (F, 11), in usual distances."""
    controls = np.stack([scene.controls[name] / _USUAL[name] for name in CONTROLS], axis=1)
    return np.asarray(controls - controls.mean(0), dtype=np.float32)


def draw_many(kind: str, numbers: range) -> dict[str, Any]:
    """The fields of the scenes of consecutive numbers, each stacked."""
    drawn = [draw(kind, KINDS[kind].first_seed + number) for number in numbers]
    fields = {name: np.stack([getattr(one, name) for one in drawn]) for name in ("frames", "discs", "moves")}
    return {**fields, "captions": np.array([one.caption for one in drawn])}


def chunk_path(folder: Path, index: int) -> Path:
    """The file of a chunk, without the ending: `.npz` as rendered, `.pt` as the training keeps it."""
    return folder / f"{index:06}"


def render_chunks(folder: Path, count: int, mine: Callable[[int], bool]) -> Iterator[Path]:
    """Write the chunks of the first `count` scenes of the folder's kind that are `mine` and not there yet."""
    size = KINDS[folder.name].chunk
    folder.mkdir(parents=True, exist_ok=True)
    for index in filter(mine, range(-(-count // size))):
        path = chunk_path(folder, index)
        if path.with_suffix(".npz").exists() or path.with_suffix(".pt").exists():
            continue
        fields = draw_many(folder.name, range(index * size, min((index + 1) * size, count)))
        unfinished = path.with_suffix(f".{os.getpid()}")
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **fields)
        unfinished.replace(path.with_suffix(".npz"))
        yield path


@contextmanager
def renderers(work: Path, counts: dict[str, int], num: int) -> Iterator[Callable[[], bool]]:
    """While this lasts, `num` processes render so many scenes of each kind, in this order.

    Yields a function that says whether any still does, and raises RuntimeError if one has failed.
    """
    jobs = [f"{kind}={count}" for kind, count in counts.items()]
    command = [sys.executable, "-m", __spec__.name, str(work), str(os.getpid())]
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = [subprocess.Popen([*command, str(k), str(num), *jobs], env=alone) for k in range(num)]

    def is_rendering() -> bool:
        if any(process.poll() for process in running):
            raise RuntimeError("a process that renders has failed")
        return any(process.returncode is None for process in running)

    try:
        yield is_rendering
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def main() -> None:
    """Process K of N, until all is rendered or its parent is gone."""
    work, parent, k, num, *jobs = sys.argv[1:]
    for kind, _, count in (job.partition("=") for job in jobs):
        for _path in render_chunks(Path(work, kind), int(count), lambda index: index % int(num) == int(k)):
            if os.getppid() != int(parent):
                return


if __name__ == "__main__":
    main()
