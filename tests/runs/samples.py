"""Sample runs, and the jobs of processes that drive them."""

import time
from pathlib import Path
from typing import Any

import filelock  # noqa: F401 - loaded once, before the nursery forks

from cavtool.recipes import LearnRecipe
from cavtool.runs import Run, Runs
from tests.registry.samples import CLIP

RECIPE = LearnRecipe(prompt="it twirls", start=0.5, steps=250, noise_from=0.7)
SIZE = 300_000  # bytes of a state


def begin(root: Path, name: str, **changes: Any) -> Run:
    """A new run that learns `name`."""
    request = {"recipe": RECIPE, "clip": CLIP, "revision": "1" * 12, **changes}
    return Runs(root).create(name, request.pop("recipe"), **request)


def state(step: int) -> bytes:
    """The bytes of a checkpoint, different at each step."""
    return step.to_bytes(4) * (SIZE // 4)


def train(folder: str, first: int, count: int) -> None:
    """Drive a run for `count` steps, each with a checkpoint."""
    run = Run(Path(folder))
    with run.lock():
        for step in range(first, first + count):
            run.checkpoint(step, lambda path, step=step: path.write_bytes(state(step)))  # type: ignore[misc]
            run.log({"step": step})


def drive(folder: str, seconds: float) -> None:
    """Drive a run without doing anything."""
    with Run(Path(folder)).lock():
        time.sleep(seconds)


def fail(folder: str, reason: str) -> None:
    """Mark a run failed."""
    Run(Path(folder)).fail(reason)
