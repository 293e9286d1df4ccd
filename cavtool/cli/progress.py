"""How a long workflow looks while it works: one live display on a terminal, a plain line now and then elsewhere."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from cavtool.events import Event, Note, Stage, Step, Warn

OnEvent = Callable[[Event], None]
Say = Callable[[str], None]


@contextmanager
def live(note: Say, warning: Say) -> Iterator[OnEvent]:
    """One bar a stage on stderr, with its figures; notes and warnings scroll above."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    figures = Figures()
    with Progress(*columns, console=Console(stderr=True)) as display:

        def finish() -> None:
            for task in display.tasks:
                display.update(task.id, total=task.total or 1, completed=task.total or 1)

        def on_event(event: Event) -> None:
            match event:
                case Stage():
                    finish()
                    display.add_task(_title(event), total=None, figures="")
                case Step():
                    task = display.tasks[-1].id
                    display.update(task, total=event.num_steps, completed=event.step, figures=figures.read(event))
                case Note():
                    note(event.text)
                case Warn():
                    warning(event.text)

        yield on_event
        finish()


@contextmanager
def plain(note: Say, warning: Say) -> Iterator[OnEvent]:
    """A line for each stage and each tenth of its steps on stderr."""
    figures = Figures()

    def on_event(event: Event) -> None:
        match event:
            case Stage():
                typer.echo(_title(event), err=True)
            case Step():
                text = figures.read(event)
                if event.step == event.num_steps or event.step % max(1, event.num_steps // 10) == 0:
                    typer.echo(f"{event.stage}  {text}", err=True)
            case Note():
                note(event.text)
            case Warn():
                warning(event.text)

    yield on_event


@dataclass
class Figures:
    """The figures of the stage under way: steps, smoothed loss, speed, time left, memory."""

    first: Step | None = None
    seen: int = 0
    loss: float = 0.0

    def read(self, step: Step) -> str:
        """Take `step` in and describe where the stage is."""
        if self.first is None or self.first.stage != step.stage:
            self.first, self.seen, self.loss = step, 0, 0.0
        self.seen += 1
        parts = [f"{step.step}/{step.num_steps}"]
        if step.loss is not None:
            # A plain mean at first, so that the first loss does not linger; exponential from the 20th on.
            self.loss += (step.loss - self.loss) / min(self.seen, 20)
            parts.append(f"loss {self.loss:.4f}")
        # Counted from the first step seen: a resumed stage begins in the middle, and the first step is the slow one.
        num_steps, seconds = step.step - self.first.step, step.seconds - self.first.seconds
        if num_steps > 0 and seconds > 0:
            speed = num_steps / seconds
            parts += [f"{speed:.1f} it/s", f"{_clock((step.num_steps - step.step) / speed)} left"]
        if memory := resident_memory():
            parts.append(f"{memory / 1e9:.1f} GB")
        return "  ".join(parts)


def resident_memory() -> int | None:
    """The bytes of memory this process holds; its peak on macOS, None on Windows (the standard library cannot say)."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return None
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss


def _title(stage: Stage) -> str:
    return f"[{stage.index}/{stage.count}] {stage.name}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
