"""One training run: its record, its state, its files."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cavtool.errors import Conflict, NotFound
from cavtool.events import Event
from cavtool.runs import checkpoints, lock, log
from cavtool.runs import record as records
from cavtool.runs.record import Outcome, RunRecord
from cavtool.system import platform
from cavtool.system.files import write_atomic, writing_to

Status = Literal["running", "done", "failed", "stopped"]

INPUTS = "inputs.safetensors"
_STOP = "stop"


@dataclass(frozen=True)
class Run:
    """A training run by its folder, whose name is the id of the run."""

    folder: Path

    @property
    def id(self) -> str:
        """The motion, the time when the run began and four random hex digits: `twirl-20261122-1432-3f2a`."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """Whether the run has not been deleted."""
        return (self.folder / records.FILE).exists()

    @property
    def record(self) -> RunRecord:
        """The record, read from disk each time: the process that drives the run may end it. Raises IntegrityFailure."""
        return records.load(self.folder)

    @property
    def status(self) -> Status:
        """`running` while a live process drives it; `stopped` if that process ended without a result or a failure."""
        if self.driver is not None:
            return "running"
        outcome = self.record.outcome
        return "stopped" if outcome is None else "done" if outcome.result is not None else "failed"

    @property
    def reason(self) -> str | None:
        """Why it failed, if it did."""
        outcome = self.record.outcome
        return outcome.reason if outcome else None

    @property
    def driver(self) -> int | None:
        """The id of the live process that drives it, or None."""
        return lock.driver(self.folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Drive the run; an earlier failure is cleared. Raises Conflict if another process drives it."""
        records.load(self.folder)  # raises if there is no run; the lock would create its folder
        with lock.held(self.folder):
            try:
                (self.folder / _STOP).unlink(missing_ok=True)
                for part in self.folder.glob(".part-*"):  # of a process that was killed
                    part.unlink(missing_ok=True)
                lock.write_pid(self.folder)
                if self.reason is not None:
                    self._end(None)
                yield
            finally:
                lock.clear_pid(self.folder)

    def finish(self, result: str) -> None:
        """Mark it done, with the content id of the motion, and delete the files that only a training needs."""
        self._end(Outcome(result=result, step=self.step))
        for path in (*(path for _, path in self.checkpoints()), self.inputs):
            path.unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Mark it failed."""
        self._end(Outcome(reason=reason, step=self.step))

    @property
    def inputs(self) -> Path:
        """The file of the training's inputs; `write` creates it."""
        return self.folder / INPUTS

    def write(self, name: str, save: Callable[[Path], object]) -> Path:
        """Let `save` write the file `name`, which appears complete or not at all. Raises RequirementError."""
        path = self.folder / name
        with writing_to(self.folder):
            path.parent.mkdir(exist_ok=True)
            return write_atomic(path, save)

    def checkpoint(self, step: int, save: Callable[[Path], object], keep: int = 2) -> None:
        """Let `save` write the state after `step` steps, then delete all but the `keep` latest states."""
        self.write(checkpoints.name(step), save)
        checkpoints.drop_old(self.folder, keep)

    @property
    def step(self) -> int:
        """The step of the latest checkpoint; without a checkpoint, the step at which the run ended."""
        if kept := self.checkpoints():
            return kept[-1][0]
        outcome = self.record.outcome
        return outcome.step if outcome else 0

    def checkpoints(self) -> list[tuple[int, Path]]:
        """The step and the file of every state that is kept, the earliest first."""
        return checkpoints.find(self.folder)

    def log(self, event: Mapping[str, object]) -> None:
        """Append an event to the log. Raises RequirementError."""
        log.append(self.folder, event)

    def events(self) -> list[Event]:
        """The events it reported, as far as they can be read."""
        return log.read(self.folder)

    @property
    def last_output(self) -> str:
        """The last line a detached process printed; empty if there is none."""
        return log.last_output(self.folder)

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether the process that drives it should write a checkpoint and end."""
        return (self.folder / _STOP).exists()

    def stop(self, patience: float = 60.0) -> None:
        """Ask the process that drives it to write a checkpoint and end, and wait for that.

        The request is a file, not a signal: on Windows a detached process has no console to receive one. Raises
        NotFound if no process drives it, Conflict if it has not ended after `patience` seconds.
        """
        if (pid := self.driver) is None:
            raise NotFound(f"run `{self.id}` is not running", hint=f"it is {self.status}")
        (self.folder / _STOP).touch()
        end = time.monotonic() + patience
        while self.driver is not None:
            if time.monotonic() > end:
                raise Conflict(f"run `{self.id}` does not stop", hint=f"end process {pid} yourself")
            time.sleep(0.1)

    def remove(self) -> None:
        """Delete the run. Raises Conflict while a process drives it."""
        hidden = self.folder.with_name(f".tmp-{self.id}")  # renamed first: a half-deleted folder must not be a run
        with writing_to(self.folder.parent):
            with lock.held(self.folder):
                if platform.CAN_MOVE_OPEN_FILES:  # the lock is an open file
                    self.folder.rename(hidden)
            if not platform.CAN_MOVE_OPEN_FILES:
                self.folder.rename(hidden)
            shutil.rmtree(hidden)

    def _end(self, outcome: Outcome | None) -> None:
        records.save(self.folder, replace(self.record, outcome=outcome))
