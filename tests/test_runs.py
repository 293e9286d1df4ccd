import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import filelock  # noqa: F401 - loaded once, before the nursery forks
import pytest

from cavtool.errors import Conflict, IntegrityFailure, InvalidInput, NotFound, RequirementError
from cavtool.runs import Run, Runs
from tests import nursery
from tests.nursery import KILLED, Nursery, job

SIZE = 300_000
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills and forks as POSIX does")


class Kind(StrEnum):
    DUAL = "dual"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def run(root: Path) -> Run:
    return Runs(root).create("twirl", {"steps": 250})


@pytest.fixture
def processes() -> Iterator[Nursery]:
    with nursery.opened() as opened:
        yield opened


def state(step: int) -> bytes:
    return step.to_bytes(4) * (SIZE // 4)


def train(folder: str, first: int, count: int) -> None:
    run = Run(Path(folder))
    with run.lock():
        for step in range(first, first + count):
            run.checkpoint(step, lambda path, step=step: path.write_bytes(state(step)))  # type: ignore[misc]
            run.log({"step": step})


def drive(folder: str, seconds: float) -> None:
    with Run(Path(folder)).lock():
        time.sleep(seconds)


def fail(folder: str, reason: str) -> None:
    Run(Path(folder)).fail(reason)


def until_driven(run: Run) -> int:
    while (pid := run.driver) is None:
        time.sleep(0.01)
    return pid


def test_a_run_keeps_what_was_asked_for(root: Path) -> None:
    recipe = {
        "steps": 250,
        "lr": 1.5e-3,
        "kind": Kind.DUAL,
        "start": None,
        "clip": {"fps": 8.0, "end": None},
        "o": True,
    }
    run = Runs(root).create("twirl", recipe)
    assert run.id.startswith("twirl-20")
    assert Runs(root).open(run.id) == run
    assert (run.name, run.status, run.driver, run.step) == ("twirl", "stopped", None, 0)
    assert run.settings == {"steps": 250, "lr": 1.5e-3, "kind": "dual", "clip": {"fps": 8.0}, "o": True}
    assert run.created.endswith("+00:00")
    with pytest.raises(InvalidInput):
        Runs(root).create("../twirl", {})


def test_listing_creates_nothing(root: Path) -> None:
    assert Runs(root).list() == []
    assert not root.exists()


def test_list_is_newest_first_and_leaves_out_what_cannot_be_read(root: Path) -> None:
    runs = [Runs(root).create(name, {}) for name in ("b", "c", "a", "torn")]
    for day, run in enumerate(runs):
        text = (run.folder / "run.toml").read_text()
        (run.folder / "run.toml").write_text(text.replace(run.created, f"2026-01-0{day + 1}T00:00:00+00:00"))
    (runs[3].folder / "run.toml").write_text("name = ")
    (root / "a-file").write_text("")
    (root / "unborn").mkdir()
    assert [run.name for run in Runs(root).list()] == ["a", "c", "b"]
    with pytest.raises(IntegrityFailure, match=f"`run.toml` of run `{runs[3].id}` cannot be read"):
        _ = Runs(root).open(runs[3].id).settings
    Runs(root).open(runs[3].id).remove()


@pytest.mark.parametrize("name", ["", "..", "unborn"])
def test_no_such_run(name: str, run: Run, root: Path) -> None:
    (root / "unborn").mkdir()
    with pytest.raises(NotFound):
        Runs(root).open(name)
    with pytest.raises(NotFound) as caught:
        Runs(root).open(run.id[:-1])
    assert caught.value.hint == f"did you mean `{run.id}`?"


def test_how_a_run_ends(run: Run) -> None:
    with run.lock():
        assert (run.status, run.driver) == ("running", os.getpid())
        run.fail("the loss is not finite")
    assert (run.status, run.reason, run.result) == ("failed", "the loss is not finite", None)
    with run.lock():
        assert run.reason is None
    assert (run.status, run.driver) == ("stopped", None)
    with run.lock():
        run.finish("twirl")
    assert (run.status, run.reason, run.result) == ("done", None, "twirl")
    assert run.settings == {"steps": 250}


def test_checkpoints(run: Run) -> None:
    for step in (5, 50, 100, 9):
        run.checkpoint(step, lambda path: path.write_text("state"))
    assert run.step == 100
    assert run.checkpoints() == [(n, run.folder / f"step-{n}.safetensors") for n in (50, 100)]
    assert sorted(path.name for path in run.folder.glob("step-*")) == ["step-100.safetensors", "step-50.safetensors"]


def test_a_run_that_is_done_keeps_only_what_tells_of_it(run: Run) -> None:
    run.write("inputs.safetensors", lambda path: path.write_text("the frames of a video"))
    run.checkpoint(50, lambda path: path.write_text("state"))
    run.log({"step": 50})
    run.finish("f" * 64)
    assert {path.name for path in run.folder.iterdir()} == {"run.toml", "log.jsonl"}
    assert (run.status, run.step) == ("done", 50)


def test_write_shows_whole_files_only(run: Run) -> None:
    def save(path: Path) -> None:
        assert path.suffix == ".mp4"
        path.write_text("half")
        raise ValueError("of a sudden")

    for _ in range(2):
        with pytest.raises(ValueError, match="of a sudden"):
            run.write("previews/clip.mp4", save)
        assert list((run.folder / "previews").iterdir()) == []
    assert run.write("inputs.safetensors", lambda path: path.write_text("whole")) == run.inputs
    assert run.inputs.read_text() == "whole"


def test_log_is_one_json_object_a_line(run: Run) -> None:
    events: list[dict[str, object]] = [{"event": "note", "text": "zwei\nZeilen"}, {"event": "step", "loss": 0.5}]
    for event in events:
        run.log(event)
    lines = (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == events


def test_remove(run: Run, root: Path) -> None:
    other = Runs(root).create("zigzag", {})
    with run.lock(), pytest.raises(Conflict, match=f"driven by process {os.getpid()}"):
        run.remove()
    run.remove()
    assert Runs(root).list() == [other]
    assert list(root.iterdir()) == [other.folder]


def test_what_the_disk_refuses_is_told_in_one_line(run: Run) -> None:
    shutil.rmtree(run.folder)
    with pytest.raises(RequirementError, match="cannot write to"):
        run.log({})
    with pytest.raises(IntegrityFailure, match="cannot be read"), run.lock():
        pass
    assert not run.folder.exists()


@forks
def test_a_live_driver_keeps_others_out_and_a_dead_one_does_not(run: Run, processes: Nursery) -> None:
    processes.start(job(drive, run.folder, 60))
    pid = until_driven(run)
    assert run.status == "running"
    with pytest.raises(Conflict, match=f"run `{run.id}` is being driven by process {pid}"), run.lock():
        pass
    with pytest.raises(Conflict):
        run.remove()
    os.kill(pid, signal.SIGKILL)
    assert processes.wait() == [KILLED]
    assert (run.folder / "pid").read_text() == str(pid)
    assert (run.driver, run.status) == (None, "stopped")
    with run.lock():
        assert run.driver == os.getpid()
    assert not (run.folder / "pid").exists()


def test_the_id_of_a_live_process_alone_is_no_driver(run: Run) -> None:
    (run.folder / "pid").write_text(str(os.getpid()))
    assert run.status == "stopped"


@forks
def test_of_two_drivers_one_wins(run: Run, processes: Nursery) -> None:
    assert sorted(processes.run(job(drive, run.folder, 1.5), job(drive, run.folder, 1.5))) == [0, 4]


@forks
@pytest.mark.parametrize("moment", ["write:saved", "write:synced", "write:replaced", "checkpoint:dropped", "any"])
def test_killed_while_it_checkpoints(moment: str, run: Run, processes: Nursery) -> None:
    assert processes.run(job(train, run.folder, 1, 5)) == [0]
    step = 5
    for trial in range(10):
        failpoint = f"{moment} step-{step + 2}.safetensors" if moment.startswith("write") else moment
        kill_after = 0.01 + trial * 0.004 if moment == "any" else None
        doomed = job(train, run.folder, step + 1, 1000, failpoint=failpoint, kill_after=kill_after)
        assert processes.run(doomed) == [KILLED]
        (*_, (latest, path)) = run.checkpoints()
        assert path.read_bytes() == state(latest)
        assert latest >= step + (moment != "any")
        step = latest
        assert (run.status, run.settings) == ("stopped", {"steps": 250})
    assert processes.run(job(train, run.folder, step + 1, 3)) == [0]
    assert run.checkpoints()[-1] == (step + 3, run.folder / f"step-{step + 3}.safetensors")


@forks
@pytest.mark.parametrize("moment", ["saved", "synced", "replaced"])
def test_killed_while_it_ends(moment: str, run: Run, processes: Nursery) -> None:
    for reason in ("first", "second"):
        before = run.reason
        assert processes.run(job(fail, run.folder, reason, failpoint=f"write:{moment} run.toml")) == [KILLED]
        assert (run.reason, run.settings) == (reason if moment == "replaced" else before, {"steps": 250})
