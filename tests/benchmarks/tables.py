"""Tables of results, with intervals, and the environment in which an installed `cav` is measured."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cavtool.core.metrics.stats import bootstrap_interval, paired_interval

RESULTS = Path(__file__).parent / "results"


def with_interval(values: Sequence[float]) -> str:
    """Mean and its 95 % bootstrap interval; a dash if a value is not finite."""
    if not np.isfinite(values).all():
        return "-"
    low, high = bootstrap_interval(values)
    return f"{sum(values) / len(values):.2f} [{low:.2f}, {high:.2f}]"


def with_difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Mean difference of pairs and its 95 % bootstrap interval; two rows differ if the interval excludes 0."""
    low, high = paired_interval(ours, theirs)
    return f"{np.mean(np.subtract(ours, theirs)):+.2f} [{low:+.2f}, {high:+.2f}]"


def installed(bytecode: str) -> dict[str, str]:
    """Variables with which `cav` runs as pip installs it: modules compiled, in the folder `bytecode`; output buffered.

    The first run compiles the modules.
    """
    unlike = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    kept = {name: value for name, value in os.environ.items() if name not in unlike}
    return {**kept, "PYTHONPYCACHEPREFIX": bytecode}


def write_table(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: str = "",
    folder: Path = RESULTS,
) -> None:
    """Print a table and save it as Markdown, with the command that made it."""
    module = f"tests.{folder.parent.name}.{Path(sys.argv[0]).stem}"
    lines = [
        f"# {title}",
        "",
        f"`{shlex.join(['python', '-m', module, *sys.argv[1:]])}`",
        "",
    ]
    lines += [
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    text = "\n".join([*lines, *([notes, ""] if notes else [])])
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    print(text)
