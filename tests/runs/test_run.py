import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cavtool.errors import Conflict, IntegrityFailure, InvalidInput, NotFound, RequirementError
from cavtool.runs import Outcome, Run, Runs
from tests import nursery
from tests.nursery import KILLED, Nursery, job
from tests.registry.samples import CLIP
from tests.runs.samples import RECIPE, begin, drive, fail, state, train

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills and forks as POSIX does")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def run(root: Path) -> Run:
    return begin(root, "twirl")


@pytest.fixture
def processes() -> Iterator[Nursery]:
    with nursery.opened() as opened:
        yield opened


def until_driven(run: Run) -> int:
    while (pid := run.driver) is None:
        time.sleep(0.01)
    return pid


def test_a_run_keeps_its_request(root: Path) -> None:
    run = begin(root, "twirl", replace=True)
    assert run.id.startswith("twirl-20")
    assert Runs(root).open(run.id) == run
    assert (run.status, run.driver, run.step) == ("stopped", None, 0)
    record = run.record
    assert (record.name, record.recipe, record.clip) == ("twirl", RECIPE, CLIP)
    assert (record.revision, record.replace, record.outcome) == ("1" * 12, True, None)
    assert record.created.endswith("+00:00")
    with pytest.raises(InvalidInput):
        begin(root, "../twirl")


def test_listing_creates_nothing(root: Path) -> None:
    assert Runs(root).list() == []
    assert not root.exists()


def test_list_is_newest_first_and_skips_unreadable_runs(root: Path) -> None:
    runs = [begin(root, name) for name in ("b", "c", "a", "torn")]
    for day, run in enumerate(runs):
        text = (run.folder / "run.toml").read_text()
        (run.folder / "run.toml").write_text(text.replace(run.record.created, f"2026-01-0{day + 1}T00:00:00+00:00"))
    (runs[3].folder / "run.toml").write_text("name = ")
    (root / "a-file").write_text("")
    (root / "empty").mkdir()
    assert [run.record.name for run in Runs(root).list()] == ["a", "c", "b"]
    failures = {failure.message for failure in Runs(root).broken()}
    assert len(failures) == 2
    assert any(runs[3].id in message for message in failures)
    assert "`run.toml` of run `empty` cannot be read: No such file or directory" in failures
    with pytest.raises(IntegrityFailure, match=f"`run.toml` of run `{runs[3].id}` is not TOML"):
        _ = Runs(root).open(runs[3].id).record
    Runs(root).open(runs[3].id).remove()


@pytest.mark.parametrize("name", ["", "..", "twril"])
def test_no_such_run(name: str, run: Run, root: Path) -> None:
    with pytest.raises(NotFound):
        Runs(root).open(name)
    with pytest.raises(NotFound) as caught:
        Runs(root).open(run.id[1:])
    assert caught.value.hint == f"did you mean `{run.id}`?"


def test_an_id_may_be_shortened_and_latest_is_the_newest(run: Run, root: Path) -> None:
    assert Runs(root).open("twi") == Runs(root).open("latest") == run
    other = begin(root, "zoom")
    text = (other.folder / "run.toml").read_text()
    (other.folder / "run.toml").write_text(text.replace(other.record.created, "2099-01-01T00:00:00+00:00"))
    assert Runs(root).open("latest") == other
    begin(root, "twist")
    with pytest.raises(InvalidInput, match="`twi` matches 2 runs"):
        Runs(root).open("twi")


def test_partial_files_of_a_killed_process_are_deleted_when_the_run_is_resumed(run: Run) -> None:
    (run.folder / ".part-1234.safetensors").write_bytes(b"half")
    with run.lock():
        assert not list(run.folder.glob(".part-*"))


def test_a_run_fails_stops_or_is_done(run: Run) -> None:
    with run.lock():
        assert (run.status, run.driver) == ("running", os.getpid())
        run.fail("the loss is not finite")
    assert (run.status, run.reason) == ("failed", "the loss is not finite")
    with run.lock():
        assert run.reason is None
    assert (run.status, run.driver) == ("stopped", None)
    with run.lock():
        run.finish("f" * 64)
    assert (run.status, run.record.outcome) == ("done", Outcome(result="f" * 64))
    assert run.record.recipe == RECIPE


def test_checkpoints(run: Run) -> None:
    for step in (5, 50, 100, 9):
        run.checkpoint(step, lambda path: path.write_text("state"))
    assert run.step == 100
    assert run.checkpoints() == [(n, run.folder / f"step-{n}.safetensors") for n in (50, 100)]
    assert sorted(path.name for path in run.folder.glob("step-*")) == ["step-100.safetensors", "step-50.safetensors"]


def test_a_finished_run_keeps_only_its_record_and_log(run: Run) -> None:
    run.write("inputs.safetensors", lambda path: path.write_text("the frames of a video"))
    run.checkpoint(50, lambda path: path.write_text("state"))
    run.log({"step": 50})
    run.finish("f" * 64)
    assert {path.name for path in run.folder.iterdir()} == {"run.toml", "log.jsonl"}
    assert (run.status, run.step) == ("done", 50)


def test_an_interrupted_write_leaves_no_file(run: Run) -> None:
    def save(path: Path) -> None:
        assert path.suffix == ".mp4"
        path.write_text("half")
        raise ValueError("interrupted")

    for _ in range(2):
        with pytest.raises(ValueError, match="interrupted"):
            run.write("previews/clip.mp4", save)
        assert list((run.folder / "previews").iterdir()) == []
    assert run.write("inputs.safetensors", lambda path: path.write_text("whole")) == run.inputs
    assert run.inputs.read_text() == "whole"


def test_the_log_is_one_json_object_per_line(run: Run) -> None:
    events: list[dict[str, object]] = [{"event": "note", "text": "zwei\nZeilen"}, {"event": "step", "loss": 0.5}]
    for event in events:
        run.log(event)
    lines = (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == events


def test_remove(run: Run, root: Path) -> None:
    other = begin(root, "zigzag")
    with run.lock(), pytest.raises(Conflict, match=f"driven by process {os.getpid()}"):
        run.remove()
    run.remove()
    assert Runs(root).list() == [other]
    assert list(root.iterdir()) == [other.folder]


def test_a_failed_write_is_reported_in_one_line(run: Run) -> None:
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


def test_a_lock_that_cannot_be_opened_locks_nothing(run: Run) -> None:
    (run.folder / "pid").write_text(str(os.getpid()))
    (run.folder / "lock").mkdir()
    assert run.status == "stopped"


@forks
def test_a_log_that_is_a_pipe_is_refused_at_once(run: Run) -> None:
    os.mkfifo(run.folder / "log.jsonl")
    with pytest.raises(IntegrityFailure, match="not a regular file"):
        run.events()


def test_a_pid_without_the_lock_is_not_a_driver(run: Run) -> None:
    (run.folder / "pid").write_text(str(os.getpid()))
    assert run.status == "stopped"


@forks
def test_only_one_of_two_drivers_gets_the_lock(run: Run, processes: Nursery) -> None:
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
        assert (run.status, run.record.recipe) == ("stopped", RECIPE)
    assert processes.run(job(train, run.folder, step + 1, 3)) == [0]
    assert run.checkpoints()[-1] == (step + 3, run.folder / f"step-{step + 3}.safetensors")


@forks
@pytest.mark.parametrize("moment", ["saved", "synced", "replaced"])
def test_killed_while_it_ends(moment: str, run: Run, processes: Nursery) -> None:
    for reason in ("first", "second"):
        before = run.reason
        assert processes.run(job(fail, run.folder, reason, failpoint=f"write:{moment} run.toml")) == [KILLED]
        assert (run.reason, run.record.recipe) == (reason if moment == "replaced" else before, RECIPE)
