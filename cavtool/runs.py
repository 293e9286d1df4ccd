"""A training run on disk, so that a training killed at any moment can go on.

    <root>/<id>/run.toml              what was asked for, and how it ended
                inputs.safetensors    what the training reads
                step-N.safetensors    its state after N steps; the highest is the latest
                log.jsonl             what it reported
                output.log            what its process said, if that was in the background
                stop                  somebody wants it to end after a checkpoint
                lock, pid             held while a process is at work on it, and which

Every file is whole: written beside its place, then moved there. The operating system drops the lock of a process that
died, so the lock, not the pid, says whether a run is being driven.
"""

import builtins
import json
import os
import re
import secrets
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cavtool.errors import Conflict, IntegrityFailure, NotFound, closest
from cavtool.events import Event, from_json
from cavtool.names import check_name
from cavtool.system import platform
from cavtool.system.files import failpoint, write_atomic, writing_to

Status = Literal["running", "done", "failed", "stopped"]

INPUTS = "inputs.safetensors"
_STATE = "run.toml"
_STEP = re.compile(r"step-(\d+)\.safetensors")
_PATIENCE = 1.0  # seconds: whoever asks for the status of a run has its lock for a moment


@dataclass(frozen=True)
class Run:
    """One training run; `folder.name` is its id."""

    folder: Path

    @property
    def id(self) -> str:
        """As in `twirl-20261122-1432-3f2a`: what is learned, when it began, four random digits."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """Whether it is there still: nobody has deleted it."""
        return (self.folder / _STATE).exists()

    @property
    def name(self) -> str:
        """The name of what is being learned."""
        return str(_load(self.folder)["name"])

    @property
    def created(self) -> str:
        """When it began, ISO 8601 in UTC."""
        return str(_load(self.folder)["created"])

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe it was created with, without the values that were None."""
        return dict(_load(self.folder)["settings"])

    @property
    def result(self) -> str | None:
        """What came of it, if it is done."""
        return _outcome(self.folder).get("result")

    @property
    def reason(self) -> str | None:
        """Why it failed, if it did."""
        return _outcome(self.folder).get("reason")

    @property
    def status(self) -> Status:
        """`running` while a live process drives it; `stopped` if that ended without a result or a reason."""
        if self.driver is not None:
            return "running"
        outcome = _outcome(self.folder)
        return "done" if "result" in outcome else "failed" if "reason" in outcome else "stopped"

    @property
    def driver(self) -> int | None:
        """The id of the live process that drives it, if there is one."""
        from filelock import FileLock, Timeout  # 50 ms that a list of ended runs does not need

        try:
            pid = int((self.folder / "pid").read_text())
        except (OSError, ValueError):
            return None
        try:
            with FileLock(self.folder / "lock").acquire(timeout=0):
                return None
        except Timeout:
            return pid

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Drive the run; Conflict if another process does. A failure of before is forgotten."""
        _load(self.folder)  # before FileLock makes a folder that is not there
        with self._held():
            try:
                (self.folder / "stop").unlink(missing_ok=True)
                self.write("pid", lambda path: path.write_text(str(os.getpid())))
                if self.reason is not None:
                    self._end({})
                yield
            finally:
                with suppress(OSError):  # Windows, where somebody reads it just now
                    (self.folder / "pid").unlink(missing_ok=True)

    @contextmanager
    def _held(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "lock")
        with writing_to(self.folder):
            try:
                lock.acquire(timeout=_PATIENCE)
            except Timeout:
                driver = f"process {pid}" if (pid := self.driver) else "another process"
                hint = f"`cav runs stop {self.id}` stops it"
                raise Conflict(f"run `{self.id}` is being driven by {driver}", hint=hint) from None
        try:
            yield
        finally:
            lock.release()

    def finish(self, result: str) -> None:
        """Mark it done: `result` came of it. What only a training needs is dropped."""
        self._end({"result": result, "step": self.step})
        for path in (*(path for _, path in self.checkpoints()), self.inputs):
            path.unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Mark it failed, and say why."""
        self._end({"reason": reason})

    @property
    def inputs(self) -> Path:
        """What the training reads, once `write` has put it there."""
        return self.folder / INPUTS

    def write(self, name: str, save: Callable[[Path], object]) -> Path:
        """Let `save` write the file `name`; it appears whole or not at all. RequirementError if the disk refuses."""
        path = self.folder / name
        with writing_to(self.folder):
            path.parent.mkdir(exist_ok=True)
            return write_atomic(path, save)

    def checkpoint(self, step: int, save: Callable[[Path], object], keep: int = 2) -> None:
        """Let `save` write the state after `step` steps, then drop all but the `keep` latest states."""
        self.write(f"step-{step}.safetensors", save)
        for _, path in self.checkpoints()[:-keep]:
            path.unlink()
            failpoint("checkpoint:dropped")

    @property
    def step(self) -> int:
        """How many steps its latest checkpoint is after, or was when it was done."""
        kept = [step for step, _ in self.checkpoints()]
        return max(kept, default=int(_outcome(self.folder).get("step", 0)))

    def checkpoints(self) -> list[tuple[int, Path]]:
        """Every step whose state is kept, the earliest first, and where."""
        found = ((_STEP.fullmatch(path.name), path) for path in self.folder.iterdir())
        return sorted((int(match[1]), path) for match, path in found if match)

    def log(self, event: Mapping[str, object]) -> None:
        """Append one line of JSON to the log."""
        with writing_to(self.folder), (self.folder / "log.jsonl").open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(event) + "\n")

    def events(self) -> list[Event]:
        """What it reported, as far as it can be read: the line being written just now may be half there."""
        told = []
        with suppress(FileNotFoundError):
            for line in (self.folder / "log.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    told.append(from_json(json.loads(line)))
        return told

    @property
    def last_words(self) -> str:
        """The last line a process in the background said, if there is one."""
        with suppress(FileNotFoundError):
            lines = (self.folder / "output.log").read_text(encoding="utf-8", errors="replace").split("\n")
            told = (line.strip() for line in reversed(lines))
            return next((line for line in told if line and not line.startswith("hint:")), "")
        return ""

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether somebody wants the process that drives it to write a checkpoint and end."""
        return (self.folder / "stop").exists()

    def stop(self, patience: float = 60.0) -> None:
        """Ask the process that drives it to write a checkpoint and end, and wait for that.

        By a file, not a signal: a process in the background has no console to send one through on Windows. Raises
        NotFound if no process drives it, Conflict if it goes on for longer than `patience` seconds.
        """
        if (pid := self.driver) is None:
            raise NotFound(f"run `{self.id}` is not running", hint=f"it is {self.status}")
        (self.folder / "stop").touch()
        end = time.monotonic() + patience
        while self.driver is not None:
            if time.monotonic() > end:
                raise Conflict(f"run `{self.id}` does not stop", hint=f"end process {pid} yourself")
            time.sleep(0.1)

    def remove(self) -> None:
        """Delete it all; Conflict while a process drives it."""
        hidden = self.folder.with_name(f".tmp-{self.id}")  # first: half deleted, it is no run any more
        with writing_to(self.folder.parent):
            with self._held():
                if platform.CAN_MOVE_OPEN_FILES:  # the lock is one
                    self.folder.rename(hidden)
            if not platform.CAN_MOVE_OPEN_FILES:
                self.folder.rename(hidden)
            shutil.rmtree(hidden)

    def _end(self, outcome: Mapping[str, str | int]) -> None:
        _save(self.folder, _load(self.folder) | {"outcome": outcome})


class Runs:
    """The training runs in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, name: str, recipe: Mapping[str, Any]) -> Run:
        """Begin a run that learns `name`: scalars, lists and tables of them; None is left out."""
        now = datetime.now(UTC)
        folder = self.root / f"{check_name(name)}-{now.astimezone():%Y%m%d-%H%M}-{secrets.token_hex(2)}"
        with writing_to(self.root):
            folder.mkdir(parents=True)
        created = now.isoformat(timespec="seconds")
        _save(folder, {"name": name, "created": created, "settings": _without_none(recipe)})
        return Run(folder)

    def open(self, run_id: str) -> Run:
        """The run of that id. Raises NotFound."""
        runs = {run.id: run for run in self._all()}
        if run_id not in runs:
            raise NotFound(f"no run `{run_id}`", hint=closest(run_id, runs, "`cav runs list` shows what there is"))
        return runs[run_id]

    def list(self) -> builtins.list[Run]:
        """The runs that can be read, the newest first."""
        dated = []
        for run in self._all():
            with suppress(IntegrityFailure):
                dated.append((run.created, run.id, run))
        return [run for *_, run in sorted(dated, reverse=True)]

    def _all(self) -> builtins.list[Run]:
        try:
            folders = list(self.root.iterdir())
        except FileNotFoundError:
            return []
        return [run for run in map(Run, folders) if run.id[0] != "." and run.exists]


def _load(folder: Path) -> dict[str, Any]:
    try:
        state = tomllib.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise IntegrityFailure(f"`{_STATE}` of run `{folder.name}` cannot be read: {error}") from error
    if not {"name", "created", "settings"} <= state.keys():
        raise IntegrityFailure(f"`{_STATE}` of run `{folder.name}` is not whole")
    return state


def _save(folder: Path, state: Mapping[str, Any]) -> None:
    import tomlkit

    text = tomlkit.dumps(state)
    with writing_to(folder):
        write_atomic(folder / _STATE, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))


def _outcome(folder: Path) -> dict[str, Any]:
    return dict(_load(folder).get("outcome", {}))


def _without_none(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in recipe.items()
        if value is not None
    }
