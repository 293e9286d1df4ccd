"""What the benchmarks share: references with looks cav-mini never saw, prompts of looks it knows, tables."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cavtool import video
from cavtool.core.metrics import bootstrap_interval
from cavtool.mini import world
from cavtool.recipes import LearnRecipe
from cavtool.registry.store import Registry
from cavtool.studio.learn import learn

RESULTS = Path(__file__).parent / "results"

# A look of its own for every reference, none of which pretraining drew; tuning and reporting share none.
TUNE_LOOKS = {
    "zigzag": ("duck", "white", "kitchen"),
    "circle": ("chair", "grey", "kitchen"),
    "swing": ("duck", "grey", "kitchen"),
    "spiral": ("chair", "white", "kitchen"),
}
REPORT_LOOKS = {
    "twirl": ("lantern", "white", "moon"),
    "dolly zoom": ("teapot", "grey", "moon"),
    "somersault": ("lantern", "grey", "moon"),
    "figure eight": ("teapot", "white", "moon"),
}
TUNE_PROMPTS = (("star", "yellow", "ocean"), ("rocket", "purple", "snow"), ("boat", "orange", "desert"))
REPORT_PROMPTS = (
    ("cat", "red", "forest"),
    ("robot", "blue", "desert"),
    ("car", "green", "city"),
    ("bird", "pink", "night"),
)


@dataclass(frozen=True)
class Asked:
    """Looks asked for, and the prompt that asks."""

    subject: str
    colour: str
    place: str

    @property
    def prompt(self) -> str:
        return world.caption(self.subject, self.colour, self.place)

    @property
    def attributes(self) -> dict[str, str]:
        return {"subject": self.subject, "colour": self.colour, "place": self.place}


def reference(motion: str, looks: dict[str, tuple[str, str, str]]) -> world.Scene:
    """The reference scene of a motion."""
    return world.reference(motion, *looks[motion], layout=3)


Recipe = Callable[[str, str], LearnRecipe]  # of prompt and appearance


def learn_reference(name: str, scene: world.Scene, recipe: Recipe, registry: Registry, folder: Path) -> float:
    """Learn a scene's motion from a real mp4 of it. Returns the seconds taken."""
    file = folder / f"{name}.mp4"
    video.encode(world.render(scene), file, fps=world.FPS, scale=4)
    look = world.caption(scene.subject, scene.colour, scene.place)
    return learn_file(name, file, recipe(scene.caption, look), registry)


def learn_file(name: str, file: Path, recipe: LearnRecipe, registry: Registry) -> float:
    """Learn a motion from a file. Returns the seconds taken."""
    began = time.monotonic()
    learn(name, file, recipe, replace=True, registry=registry)
    return time.monotonic() - began


def with_interval(values: Sequence[float]) -> str:
    """Mean and its 95 % bootstrap interval."""
    low, high = bootstrap_interval(values)
    return f"{sum(values) / len(values):.2f} [{low:.2f}, {high:.2f}]"


def write_table(name: str, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], notes: str = "") -> None:
    """Print a table and keep it as Markdown, with the command that made it."""
    lines = [
        f"# {title}",
        "",
        f"`python -m tests.benchmarks.{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:])}`".replace(" `", "`"),
        "",
    ]
    lines += [
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
    text = "\n".join([*lines, *([notes, ""] if notes else [])])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)
