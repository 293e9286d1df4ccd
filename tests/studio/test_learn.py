import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cavtool import runs
from cavtool.core.training import Trainer
from cavtool.errors import Conflict, InvalidInput, MediaError, TrainingError
from cavtool.events import Event, Note, Stage, Step
from cavtool.recipes import AbsorberKind, LearnRecipe
from cavtool.registry.store import Registry
from cavtool.studio.learn import learn, resume

SHORT = LearnRecipe(prompt="a white lantern circles on the moon", steps=4, absorber_steps=3, rank=4, dtype="fp32")  # type: ignore[arg-type]
COMMAND = [sys.executable, "-m", "cavtool", "learn", "circle"]
OPTIONS = ["--steps", "60", "--absorber-steps", "6", "--rank", "2", "--batch-size", "1"]


@pytest.mark.slow
def test_learning_leaves_a_motion_and_its_look(circle: Path) -> None:
    events: list[Event] = []
    asset = learn("circle", circle, SHORT, on_event=events.append)
    look = Registry().get("circle-look", "absorber")
    assert asset.record.kind == "motion"
    assert asset.record.prompt == SHORT.prompt
    assert asset.record.clip is not None
    assert (asset.record.clip.num_frames, asset.record.clip.width) == (16, 64)
    assert set(asset.record.files) == {"weights.safetensors", "reference.mp4", "preview.mp4"}
    motion, absorber = load_file(asset.weights), load_file(look.weights)
    assert all("temp_attentions" in key or "transformer_in" in key for key in motion)
    assert not any("temp_attentions" in key or "transformer_in" in key for key in absorber)
    assert "token" in absorber
    assert any(value.abs().sum() > 0 for key, value in motion.items() if "lora_B" in key)
    assert [e.name for e in events if isinstance(e, Stage)] == ["absorber", "motion", "preview"]
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3, 1, 2, 3, 4]
    Registry().verify("circle")
    (run,) = runs.list_runs()
    assert (run.status, run.result) == ("done", asset.record.content_id)


@pytest.mark.slow
def test_without_absorber_there_is_no_look_and_without_prompt_the_name_serves(circle: Path) -> None:
    events: list[Event] = []
    recipe = LearnRecipe(steps=1, rank=2, absorber_kind=AbsorberKind.NONE)
    asset = learn("going_round", circle, recipe, on_event=events.append)
    assert Registry().names() == ["going_round"]
    assert asset.record.prompt == "going round"
    assert any("--prompt" in e.text for e in events if isinstance(e, Note))


def test_a_taken_name_is_refused_before_any_work(circle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.registry.samples import put

    put(Registry().root, "circle-look", 1)
    with pytest.raises(Conflict, match="circle-look"):
        learn("circle", circle, SHORT)
    with pytest.raises(InvalidInput):
        learn("Über Name", circle, SHORT)
    assert runs.list_runs() == []


def test_a_video_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError):
        learn("circle", tmp_path / "text.mp4", SHORT)
    assert runs.list_runs() == []


@pytest.mark.slow
def test_a_loss_that_is_not_finite_leaves_the_registry_untouched(circle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loop on the real model, with a learning rate that breaks it."""
    recipe = LearnRecipe(steps=60, rank=4, lr=1e30, absorber_kind=AbsorberKind.NONE)
    with pytest.raises(TrainingError, match="loss became"):
        learn("circle", circle, recipe)
    assert Registry().names() == []
    (run,) = runs.list_runs()
    assert run.status == "failed"
    assert "loss became" in (run.reason or "")


def start(circle: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, str(circle), *OPTIONS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def wait_for_step(least: int) -> str:
    """The id of the one run, once its log has that many lines."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for run in runs.list_runs():
            log = run.folder / "log.jsonl"
            if log.exists() and len(log.read_text().splitlines()) >= least:
                return run.id
        time.sleep(0.05)
    raise AssertionError("the training never got there")


@pytest.mark.slow
def test_killed_and_resumed_it_ends_in_the_same_bits(
    circle: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = start(circle)
    _, errors = whole.communicate(timeout=300)
    assert whole.returncode == 0, errors
    expected = load_file(Registry().get("circle").weights)

    monkeypatch.setenv("CAV_HOME", str(tmp_path / "second"))
    killed = start(circle)
    run_id = wait_for_step(58)  # stage 2, past its checkpoint at step 50
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert runs.open_run(run_id).status == "stopped"
    assert Registry().names() == []
    steps: list[Event] = []
    asset = resume(run_id, on_event=steps.append)
    assert min(e.step for e in steps if isinstance(e, Step)) > 1, "it began again instead of going on"
    found = load_file(asset.weights)
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert asset.record.content_id == _content_id(home)


def _content_id(home: Path) -> str:
    return Registry(home / "data" / "assets").get("circle").record.content_id


@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(circle: Path) -> None:
    process = start(circle)
    run_id = wait_for_step(3)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"cav runs resume {run_id}" in errors
    assert "Traceback" not in errors
    assert out == ""
    run = runs.open_run(run_id)
    assert run.latest() is not None
    listed = subprocess.run(
        [sys.executable, "-m", "cavtool", "runs", "list", "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(listed.stdout)[0]["status"] == "stopped"


def test_a_trainer_that_is_done_has_nothing_left_to_do() -> None:
    param = torch.nn.Parameter(torch.ones(1))
    trainer = Trainer({"a": param}, lambda _: param.sum(), 2, 0.1)
    assert len(list(trainer.run())) == 2
    assert list(trainer.run()) == []
