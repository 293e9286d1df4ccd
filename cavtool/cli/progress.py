"""Progress of a long workflow: bars on a terminal, plain lines elsewhere."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cavtool.cli.format import printable
from cavtool.cli.streams import print_message
from cavtool.events import Stage, Step, Transfer
from cavtool.system.platform import resident_memory

if TYPE_CHECKING:
    from rich.progress import TaskID


class Bars:
    """A live display on stderr, with a bar and figures for each stage."""

    def __init__(self, *, shows_memory: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._display = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            console=Console(stderr=True),
        )
        self._downloads: dict[str, TaskID] = {}
        self._shows_memory = shows_memory

    def __enter__(self) -> Self:
        self._starting = self._display.add_task("starting", total=None, figures="")  # while torch loads
        self._display.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._fill()
        self._display.stop()

    def stage(self, stage: Stage) -> None:
        """Add a bar; its length is unknown until the first step."""
        self._fill()
        self._display.update(self._starting, visible=False)
        self._figures = Figures(shows_memory=self._shows_memory)
        self._task = self._display.add_task(_title(stage), total=None, figures="")

    def step(self, step: Step) -> None:
        """Update the bar."""
        figures = self._figures.update(step)
        self._display.update(self._task, total=step.num_steps, completed=step.step, figures=figures)

    def transfer(self, transfer: Transfer) -> None:
        """Update the bar of a download, which the first event of its source adds."""
        if transfer.source not in self._downloads:
            self._display.update(self._starting, visible=False)
            self._downloads[transfer.source] = self._display.add_task(transfer.source, total=None, figures="")
        task, total = self._downloads[transfer.source], transfer.total or 1
        self._display.update(task, total=total, completed=transfer.done or 0, figures=_transfer_figures(transfer))

    def _fill(self) -> None:
        for task in self._display.tasks:
            self._display.update(task.id, total=task.total or 1, completed=task.total or 1)


class Lines:
    """A line per stage and per tenth of its steps, for logs."""

    def __init__(self, *, shows_memory: bool) -> None:
        self._shows_memory = shows_memory
        self._tenths: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        pass

    def stage(self, stage: Stage) -> None:
        """Print the name of the stage."""
        self._figures = Figures(shows_memory=self._shows_memory)
        print_message(_title(stage))

    def step(self, step: Step) -> None:
        """Print the figures after each tenth of the steps."""
        figures = self._figures.update(step)
        if step.step == step.num_steps or step.step % max(1, step.num_steps // 10) == 0:
            print_message(printable(f"{step.stage}  {figures}"))

    def transfer(self, transfer: Transfer) -> None:
        """Print the figures after each tenth of a download."""
        tenth = 10 * transfer.done // (transfer.total or 1)
        if self._tenths.get(transfer.source) != tenth:
            self._tenths[transfer.source] = tenth
            print_message(printable(f"{transfer.source}  {_transfer_figures(transfer)}"))


@dataclass
class Figures:
    """The figures of one stage: steps, smoothed loss, speed, time left, memory of this process."""

    shows_memory: bool = True
    first: Step | None = None
    seen: int = 0
    loss: float = 0.0

    def update(self, step: Step) -> str:
        """Update with `step` and return the figures as text."""
        self.first = self.first or step
        self.seen += 1
        parts = [f"{step.step}/{step.num_steps}"]
        if step.loss is not None:
            # The plain mean of the first 20 losses, so that the first does not dominate; then an exponential mean.
            self.loss += (step.loss - self.loss) / min(self.seen, 20)
            parts.append(f"loss {self.loss:.4f}")
        # Speed is measured from the first step seen: a resumed stage starts in the middle, and the first step is slow.
        num_steps, seconds = step.step - self.first.step, step.seconds - self.first.seconds
        if num_steps > 0 and seconds > 0:
            speed = num_steps / seconds
            left = (step.num_steps - step.step) / speed
            parts += [f"{speed:.1f} it/s", f"{_clock(left)} left" if left else f"in {_clock(step.seconds)}"]
        if self.shows_memory and (memory := resident_memory()):
            parts.append(f"{memory / 1e9:.1f} GB")
        return "  ".join(parts)


def _transfer_figures(transfer: Transfer) -> str:
    parts = [f"{transfer.done / 1e6:.0f}/{transfer.total / 1e6:.0f} MB"]
    if transfer.seconds > 0 and transfer.done:
        speed = transfer.done / transfer.seconds
        left = (transfer.total - transfer.done) / speed
        parts += [f"{speed / 1e6:.1f} MB/s", f"{_clock(left)} left" if left else f"in {_clock(transfer.seconds)}"]
    return "  ".join(parts)


def _title(stage: Stage) -> str:
    return printable(f"[{stage.index}/{stage.count}] {stage.name}")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
