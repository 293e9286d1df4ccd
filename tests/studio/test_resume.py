"""Interrupted, killed and damaged runs, and how they are resumed."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from cavtool.core.trainer import Trainer
from cavtool.errors import Conflict, Incompatible, NotFound, TrainingError
from cavtool.events import Event, Interrupted, Stage, Step, Warn
from cavtool.recipes import DType, LearnRecipe
from cavtool.registry import Registry
from cavtool.runs import Run
from cavtool.studio.learn import learn, resume
from cavtool.workspace import Workspace
from tests.forked import ForkedCav
from tests.nursery import KILLED

pytestmark = pytest.mark.usefixtures("quick_preview")
SHORT = LearnRecipe(
    prompt="a white lantern circles on the moon", steps=2, absorber_steps=1, rank=4, batch_size=1, dtype=DType.FP32
)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills and forks as POSIX does")


def command(circle: Path, model: Path, *options: str) -> list[str]:
    line = ["learn", "circle", str(circle), "--model", str(model), "--rank", "2", "--batch-size", "1"]
    return [*line, "--absorber-steps", "6", *options]


def the_run() -> Run:
    (run,) = Workspace().runs.list()
    return run


def wait_for_step(stage: str, step: int) -> None:
    """Wait until the only run has logged that step."""
    end = time.monotonic() + 120
    while (stage, step) not in (steps := [each for run in Workspace().runs.list() for each in logged_steps(run)]):
        assert time.monotonic() < end, f"step {step} of stage {stage} was not logged: {steps}"
        time.sleep(0.02)


def logged_steps(run: Run) -> list[tuple[str, int]]:
    """Every step in the log of the run, including those that were repeated after a kill."""
    return [(event.stage, event.step) for event in run.events() if isinstance(event, Step)]


def content_ids(registry: Registry) -> dict[str, str]:
    return {asset.record.name: asset.record.content_id for asset in registry.list()}


@forks
@pytest.mark.slow
def test_killed_at_every_stage_and_resumed_a_run_ends_in_the_same_bits(
    circle: Path, two_frames: Path, forked_cav: ForkedCav, tmp_path: Path
) -> None:
    """One run of 6 and 53 steps, killed four times; checkpoints are written after steps 6, 56 and 59."""
    forked_cav.start(*command(circle, two_frames, "--steps", "53"), failpoint="write:saved step-6.safetensors")
    assert forked_cav.wait().returncode == KILLED
    run = the_run()
    kills = [  # where it is killed next, and the step at which it resumes before that
        ("", ("absorber", 1)),
        ("write:saved step-59.safetensors", ("motion", 1)),
        ("put:named", ("motion", 51)),
    ]
    for failpoint, resumed_at in kills:
        assert (run.status, Workspace().registry.names()) == ("stopped", [])
        num_steps = len(logged_steps(run))
        forked_cav.start("runs", "resume", run.id, failpoint=failpoint)
        if not failpoint:
            wait_for_step("motion", 2)
            forked_cav.signal(signal.SIGKILL)
        assert forked_cav.wait().returncode == KILLED
        assert logged_steps(run)[num_steps] == resumed_at
    assert Workspace().registry.names() == ["circle-look"], "killed between the absorber and the motion"
    asset = resume(run.id)
    assert asset.record.metrics["loss"] > 0, "the loss of the steps before the kill was lost"
    uncut = Workspace(tmp_path / "uncut")
    recipe = LearnRecipe(model=str(two_frames), rank=2, batch_size=1, absorber_steps=6, steps=53)
    learn("circle", circle, recipe, workspace=uncut)
    assert content_ids(Workspace().registry) == content_ids(uncut.registry)


@forks
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_writes_a_checkpoint_and_names_the_command_that_resumes(
    circle: Path, two_frames: Path, forked_cav: ForkedCav, number: signal.Signals
) -> None:
    forked_cav.start(*command(circle, two_frames, "--steps", "20"))
    wait_for_step("absorber", 2)
    forked_cav.signal(number)
    interrupted, run = forked_cav.wait(), the_run()
    assert (interrupted.returncode, interrupted.stdout) == (128 + number, "")
    assert f"cav runs resume {run.id}" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    assert run.step > 0
    assert run.status == "stopped"
    if number != signal.SIGINT:
        return
    resumed = forked_cav("runs", "resume", run.id)
    assert resumed.returncode == 0, resumed.stderr
    assert Workspace().registry.names() == ["circle", "circle-look"]


@forks
@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(circle: Path, two_frames: Path, forked_cav: ForkedCav) -> None:
    forked_cav.start(*command(circle, two_frames, "--batch-size", "64"))  # a step takes seconds
    wait_for_step("absorber", 1)
    for _ in range(2):
        forked_cav.signal(signal.SIGINT)
        time.sleep(0.3)
    interrupted, run = forked_cav.wait(), the_run()
    assert interrupted.returncode == 130
    assert f"cav runs resume {run.id}" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr
    assert run.step == 0, "it wrote a checkpoint first"


@pytest.mark.slow
def test_ctrl_c_in_the_preview_leaves_a_run_to_resume(circle: Path) -> None:
    def on_event(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "preview":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        learn("circle", circle, SHORT, on_event=on_event)
    assert Workspace().registry.names() == []
    assert resume(caught.value.run_id).record.name == "circle"


def stopped_in_motion(circle: Path) -> Run:
    def interrupt(event: Event) -> None:
        if isinstance(event, Step) and event.stage == "motion":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        learn("circle", circle, SHORT, on_event=interrupt)
    return Workspace().runs.open(caught.value.run_id)


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(circle: Path) -> None:
    uncut = learn("circle", circle, SHORT)
    for name in Workspace().registry.names():
        Workspace().registry.remove(name)
    run = stopped_in_motion(circle)
    ((before, _), (last, path)) = run.checkpoints()
    assert (before, last) == (1, 2)
    path.write_bytes(path.read_bytes()[:100])
    events: list[Event] = []
    resumed = resume(run.id, on_event=events.append)
    assert [e.text for e in events if isinstance(e, Warn)] == [
        f"`step-2.safetensors` of run `{run.id}` is damaged: resuming from the one before"
    ]
    assert resumed.record.content_id == uncut.record.content_id


@pytest.mark.slow
def test_a_run_whose_name_was_taken_meanwhile_says_so_before_it_trains(circle: Path) -> None:
    from tests.registry.samples import put

    run = stopped_in_motion(circle)
    put(Workspace().registry.root, "circle", 1)
    with pytest.raises(Conflict) as caught:
        resume(run.id)
    assert caught.value.hint == f"rename it with `cav mv circle NEW`, then `cav runs resume {run.id}`"
    assert run.step == 2
    Workspace().registry.remove("circle")
    asset = resume(run.id)
    assert resume(run.id) == asset, "resuming a finished run returns its motion"
    Workspace().registry.remove("circle")
    put(Workspace().registry.root, "circle", 2)
    with pytest.raises(NotFound, match="has been replaced since"):
        resume(run.id)


@pytest.mark.slow
def test_a_run_that_cannot_be_resumed_says_why(circle: Path) -> None:
    run = stopped_in_motion(circle)
    with pytest.raises(Incompatible, match="other weights of `cav-mini`"):
        resume(copy_with_revision(run, "0" * 12).id)
    events: list[Event] = []
    for _, path in run.checkpoints():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match=f"`{path.name}` of run `{run.id}` is damaged"):
        resume(run.id, on_event=events.append)
    assert not [e for e in events if isinstance(e, Warn)], "no checkpoint is left to resume from"
    run.inputs.write_bytes(b"")
    with pytest.raises(TrainingError, match="inputs"):
        resume(run.id)
    run.inputs.unlink()
    with pytest.raises(TrainingError, match="before it began"):
        resume(run.id)
    assert Workspace().registry.names() == []


def copy_with_revision(run: Run, revision: str) -> Run:
    record = run.record
    copy = Workspace().runs.create(record.name, record.recipe, clip=record.clip, revision=revision)
    shutil.copy(run.inputs, copy.inputs)
    return copy


def test_a_finished_trainer_has_nothing_left_to_do() -> None:
    param = torch.nn.Parameter(torch.ones(1))
    trainer = Trainer({"a": param}, lambda _: param.sum(), 2, 0.1)
    assert len(list(trainer.run())) == 2
    assert list(trainer.run()) == []
