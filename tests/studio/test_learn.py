import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from cavtool import video
from cavtool.core.trainer import Trainer
from cavtool.errors import Conflict, Incompatible, InvalidInput, MediaError, NotFound, TrainingError
from cavtool.events import Event, Interrupted, Note, Stage, Step, Warn
from cavtool.mini import world
from cavtool.models import write_description
from cavtool.recipes import AbsorberKind, Blend, DType, LearnRecipe, SampleRecipe
from cavtool.registry import Asset, Registry
from cavtool.runs import Outcome, Run
from cavtool.studio.generate import generate
from cavtool.studio.learn import learn, resume
from cavtool.studio.session import motion_of, open_session
from cavtool.workspace import Workspace

SHORT = LearnRecipe(prompt="a white lantern circles on the moon", steps=4, absorber_steps=3, rank=4, dtype=DType.FP32)
CAV = [sys.executable, "-m", "cavtool"]
COMMAND = [*CAV, "learn", "circle"]
OPTIONS = ["--steps", "60", "--absorber-steps", "6", "--rank", "2", "--batch-size", "1"]


@pytest.mark.slow
def test_learning_leaves_a_motion_and_its_look(circle: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    asset = learn("circle", circle, SHORT, on_event=events.append)
    look = Workspace().registry.get("circle-look", "absorber")
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
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3, 1, 2, 3, 4, *range(1, 26)]
    assert not [e for e in events if isinstance(e, Warn)]
    assert [(e.index, e.count) for e in events if isinstance(e, Stage)] == [(1, 3), (2, 3), (3, 3)]
    Workspace().registry.verify("circle")
    (run,) = Workspace().runs.list()
    assert (run.status, run.record.outcome) == ("done", Outcome(result=asset.record.content_id, step=7))
    # The preview is the motion on the bare model: the absorber it was learned with is not there any more.
    usual = SampleRecipe(SHORT.prompt)
    frames = open_session("cav-mini", dtype=SHORT.dtype).generate(
        SHORT.prompt, SHORT.seed, [motion_of(asset)], steps=usual.steps, guidance=usual.guidance
    )
    video.encode(frames, tmp_path / "expected.mp4", fps=8, scale=4)
    assert asset.preview.read_bytes() == (tmp_path / "expected.mp4").read_bytes()


def adapted_modules(asset: Asset) -> list[str]:
    """The modules that the header of the weights file names, as diffusers reads them."""
    with safe_open(asset.weights, "pt") as file:
        spec = json.loads(file.metadata().get("lora_adapter_metadata", "{}"))
    return sorted(f"unet.{name}" for name in spec.get("unet.target_modules", []))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AbsorberKind.S_LORA, AbsorberKind.TEXTINV])
def test_the_look_holds_what_was_asked_for_and_says_so(circle: Path, kind: AbsorberKind) -> None:
    learn("circle", circle, dataclasses.replace(SHORT, steps=1, absorber_kind=kind))
    look = Workspace().registry.get("circle-look", "absorber")
    keys = set(load_file(look.weights))
    if kind is AbsorberKind.TEXTINV:
        assert keys == {"token"}
        assert (look.record.rank, adapted_modules(look)) == (0, [])
    else:
        assert "token" not in keys
        assert look.record.rank == SHORT.rank
        assert adapted_modules(look) == sorted({key.rpartition(".lora_")[0] for key in keys})


@pytest.mark.slow
def test_an_animatediff_model_learns_and_generates(circle: Path, animatediff: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(animatediff, tmp_path / "small"))
    write_description(folder, num_frames=8, fps=8, enlarge=1, words=["a", "red", "cat"])
    asset = learn("circle", circle, dataclasses.replace(SHORT, steps=2, absorber_steps=1, model=str(folder)))
    assert asset.record.clip is not None
    assert (asset.record.clip.num_frames, asset.record.clip.width) == (8, 64)
    motion, absorber = load_file(asset.weights), load_file(Workspace().registry.get("circle-look", "absorber").weights)
    assert all(".motion_modules." in key for key in motion)
    assert not any(".motion_modules." in key for key in absorber)
    assert any(value.abs().sum() > 0 for key, value in motion.items() if "lora_B" in key)
    recipe = SampleRecipe("a red cat", seed=1, steps=2, motions=(Blend("circle"),), model=str(folder))
    (file,) = generate(recipe, output=tmp_path / "v.mp4")
    media = video.probe(file)
    assert (media.width, media.height) == (64, 64)


@pytest.mark.slow
def test_replacing_keeps_what_was_there_in_the_trash(circle: Path) -> None:
    from tests.registry.samples import put

    old = put(Workspace().registry.root, "circle", 1)
    asset = learn("circle", circle, dataclasses.replace(SHORT, steps=1), replace=True)
    assert asset.record.content_id != old.record.content_id
    (kept,) = Workspace().registry.trash.iterdir()
    assert kept.name.startswith("circle-")


@pytest.mark.slow
def test_without_absorber_there_is_no_look_and_without_prompt_the_name_serves(circle: Path) -> None:
    events: list[Event] = []
    recipe = LearnRecipe(steps=1, rank=2, absorber_kind=AbsorberKind.NONE, appearance="a lantern")
    asset = learn("going_round", circle, recipe, on_event=events.append)
    assert Workspace().registry.names() == ["going_round"]
    assert asset.record.prompt == "going round"
    assert any("--prompt" in e.text for e in events if isinstance(e, Note))
    assert any("`--appearance` does nothing" in e.text for e in events if isinstance(e, Warn))


def test_a_taken_name_is_refused_before_any_work(circle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.registry.samples import put

    put(Workspace().registry.root, "circle-look", 1)
    with pytest.raises(Conflict, match="circle-look"):
        learn("circle", circle, SHORT)
    with pytest.raises(InvalidInput):
        learn("Über Name", circle, SHORT)
    assert Workspace().runs.list() == []


@pytest.mark.slow
def test_a_clip_in_which_nothing_moves_is_learned_with_a_warning(tmp_path: Path) -> None:
    still = world.render(world.reference("circle", "lantern", "white", "moon"))[[0] * 16]
    video.encode(still, tmp_path / "still.mp4", fps=world.FPS, scale=4)
    events: list[Event] = []
    recipe = dataclasses.replace(SHORT, steps=1, absorber_kind=AbsorberKind.NONE)
    learn("still", tmp_path / "still.mp4", recipe, on_event=events.append)
    assert "hardly anything moves: there is little to learn" in [e.text for e in events if isinstance(e, Warn)]


def test_a_video_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError):
        learn("circle", tmp_path / "text.mp4", SHORT)
    assert Workspace().runs.list() == []


@pytest.mark.slow
def test_a_loss_that_is_not_finite_leaves_the_registry_untouched(circle: Path) -> None:
    """The real loop on the real model, with a learning rate that breaks it."""
    from tests.registry.samples import put

    there = put(Workspace().registry.root, "circle", 1)
    recipe = LearnRecipe(steps=60, rank=4, lr=1e30, absorber_kind=AbsorberKind.NONE)
    with pytest.raises(TrainingError, match=r"(loss|gradient) became"):
        learn("circle", circle, recipe, replace=True)
    assert Workspace().registry.list() == [there]
    assert not Workspace().registry.trash.exists()
    (run,) = Workspace().runs.list()
    assert run.status == "failed"
    assert "became" in (run.reason or "")


def start(circle: Path, *options: str) -> subprocess.Popen[str]:
    command = [*COMMAND, str(circle), *OPTIONS, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def wait_for_step(least: int) -> str:
    """The id of the one run, once its log has that many lines."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for run in Workspace().runs.list():
            log = run.folder / "log.jsonl"
            if log.exists() and len(log.read_text().splitlines()) >= least:
                return run.id
        time.sleep(0.05)
    raise AssertionError("the training never got there")


def content_ids(registry: Registry | None = None) -> dict[str, str]:
    return {asset.record.name: asset.record.content_id for asset in (registry or Workspace().registry).list()}


@pytest.fixture(scope="module")
def uncut(circle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The content ids of a training that was left alone."""
    home = tmp_path_factory.mktemp("uncut")
    subprocess.run([*COMMAND, str(circle), *OPTIONS], env={**os.environ, "CAV_HOME": str(home)}, check=True)
    return content_ids(Registry(home / "data" / "assets"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "num_steps", "goes_on_at"),
    [
        ("in the absorber's stage, before any checkpoint", 3, 1),
        ("in the motion's, from the absorber's last checkpoint", 9, 1),
        ("in the motion's, past a checkpoint of its own", 60, 51),
    ],
)
def test_killed_and_resumed_it_ends_in_the_same_bits(
    circle: Path, uncut: dict[str, str], moment: str, num_steps: int, goes_on_at: int
) -> None:
    killed = start(circle)
    run_id = wait_for_step(num_steps)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert Workspace().runs.open(run_id).status == "stopped"
    assert Workspace().registry.names() == []
    events: list[Event] = []
    resume(run_id, on_event=events.append)
    assert next(e.step for e in events if isinstance(e, Step)) == goes_on_at
    assert content_ids() == uncut


@pytest.mark.slow
def test_killed_with_the_look_kept_and_the_motion_not_it_goes_on_to_both(
    circle: Path, uncut: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAV_FAILPOINT", "put:named")
    killed = start(circle)
    killed.communicate(timeout=300)
    monkeypatch.delenv("CAV_FAILPOINT")
    assert killed.returncode == -signal.SIGKILL
    assert Workspace().registry.names() == ["circle-look"]
    (run,) = Workspace().runs.list()
    asset = resume(run.id)
    assert content_ids() == uncut
    assert asset.record.metrics["loss"] > 0, "the loss of the steps before the kill is not forgotten"


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
    assert Workspace().runs.open(run_id).step > 0
    listed = subprocess.run([*CAV, "runs", "list", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(listed.stdout)[0]["status"] == "stopped"
    resumed = subprocess.run([*CAV, "runs", "resume", run_id], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert Workspace().registry.names() == ["circle", "circle-look"]


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(circle: Path) -> None:
    process = start(circle, "--batch-size", "24")  # a step of seconds
    wait_for_step(1)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (run,) = Workspace().runs.list()
    assert f"cav runs resume {run.id}" in errors
    assert "Traceback" not in errors
    assert run.step == 0, "it took the time to write a checkpoint"


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
    assert (before, last) == (3, 4)
    path.write_bytes(path.read_bytes()[:100])
    events: list[Event] = []
    resumed = resume(run.id, on_event=events.append)
    assert [e.text for e in events if isinstance(e, Warn)] == [
        f"`step-4.safetensors` of run `{run.id}` is damaged: resuming from the one before"
    ]
    assert resumed.record.content_id == uncut.record.content_id


@pytest.mark.slow
def test_a_run_whose_name_was_taken_meanwhile_says_so_before_it_trains_on(circle: Path) -> None:
    from tests.registry.samples import put

    run = stopped_in_motion(circle)
    put(Workspace().registry.root, "circle", 1)
    with pytest.raises(Conflict) as caught:
        resume(run.id)
    assert caught.value.hint == f"`cav rm circle` makes room, then `cav runs resume {run.id}`"
    assert run.step == 4
    Workspace().registry.remove("circle")
    asset = resume(run.id)
    assert resume(run.id) == asset, "a run that is done gives what it learned"
    Workspace().registry.remove("circle")
    put(Workspace().registry.root, "circle", 2)
    with pytest.raises(NotFound, match="has been replaced since"):
        resume(run.id)


@pytest.mark.slow
def test_a_run_that_cannot_go_on_says_why(circle: Path) -> None:
    run = stopped_in_motion(circle)
    with pytest.raises(Incompatible, match="other weights of `cav-mini`"):
        resume(begun_like(run, revision="0" * 12).id)
    events: list[Event] = []
    for _, path in run.checkpoints():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match=f"`{path.name}` of run `{run.id}` is damaged"):
        resume(run.id, on_event=events.append)
    assert not [e for e in events if isinstance(e, Warn)], "there is none to go on from"
    run.inputs.write_bytes(b"")
    with pytest.raises(TrainingError, match="inputs"):
        resume(run.id)
    run.inputs.unlink()
    with pytest.raises(TrainingError, match="before it began"):
        resume(run.id)
    assert Workspace().registry.names() == []


def begun_like(run: Run, *, revision: str) -> Run:
    record = run.record
    other = Workspace().runs.create(record.name, record.recipe, clip=record.clip, revision=revision)
    shutil.copy(run.inputs, other.inputs)
    return other


def test_a_trainer_that_is_done_has_nothing_left_to_do() -> None:
    param = torch.nn.Parameter(torch.ones(1))
    trainer = Trainer({"a": param}, lambda _: param.sum(), 2, 0.1)
    assert len(list(trainer.run())) == 2
    assert list(trainer.run()) == []
