"""What `learn` saves in the registry, and what it refuses."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from cavtool import video
from cavtool.errors import Conflict, InvalidInput, MediaError, TrainingError
from cavtool.events import Event, Note, Stage, Step, Warn
from cavtool.mini import world
from cavtool.models import write_description
from cavtool.recipes import AbsorberKind, AbsorbRecipe, Blend, DType, LearnRecipe, SampleRecipe
from cavtool.registry import Asset
from cavtool.runs import INPUTS, Outcome
from cavtool.studio.absorb import absorb
from cavtool.studio.generate import generate
from cavtool.studio.learn import learn, prepare_run
from cavtool.studio.session import motion_of, open_session
from cavtool.workspace import Workspace

pytestmark = pytest.mark.usefixtures("quick_preview")
SHORT = LearnRecipe(
    prompt="a white lantern circles on the moon",
    steps=2,
    absorber_steps=1,
    rank=4,
    batch_size=1,
    recolour=2,
    dtype=DType.FP32,
)


@pytest.mark.slow
def test_learning_saves_a_motion_and_its_absorber(circle: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    recipe = dataclasses.replace(SHORT, steps=4, absorber_steps=3, batch_size=2, dtype=DType.AUTO)
    asset = learn("circle", circle, recipe, on_event=events.append)
    absorber_asset = Workspace().registry.get("circle-look", "absorber")
    assert asset.record.kind == "motion"
    assert asset.record.prompt == SHORT.prompt
    assert asset.record.clip is not None
    assert (asset.record.clip.num_frames, asset.record.clip.width) == (16, 64)
    assert set(asset.record.files) == {"weights.safetensors", "reference.mp4", "preview.mp4"}
    motion, absorber = load_file(asset.weights), load_file(absorber_asset.weights)
    along_time = re.compile("temp_attentions|transformer_in|temp_convs")
    assert all(map(along_time.search, motion))
    assert any("temp_convs" in key for key in motion)
    assert not any(map(along_time.search, absorber))
    assert "token" in absorber
    assert any(value.abs().sum() > 0 for key, value in motion.items() if "lora_B" in key)
    assert [e.name for e in events if isinstance(e, Stage)] == ["absorber", "motion", "preview"]
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3, 1, 2, 3, 4, 1]
    assert not [e for e in events if isinstance(e, Warn)]
    assert [(e.index, e.count) for e in events if isinstance(e, Stage)] == [(1, 3), (2, 3), (3, 3)]
    Workspace().registry.verify("circle")
    (run,) = Workspace().runs.list()
    assert (run.status, run.record.outcome) == ("done", Outcome(result=asset.record.content_id, step=7))
    # The preview shows the motion without the absorber, as `cav generate` does by default.
    guidance = SampleRecipe(SHORT.prompt).guidance
    session = open_session("cav-mini")
    frames = session.generate(SHORT.prompt, SHORT.seed, [motion_of(asset)], steps=1, guidance=guidance)
    video.encode(frames, tmp_path / "expected.mp4", fps=8, scale=4)
    assert asset.preview.read_bytes() == (tmp_path / "expected.mp4").read_bytes()


def adapted_modules(asset: Asset) -> list[str]:
    """The modules that the header of the weights file names, in the form that diffusers reads."""
    with safe_open(asset.weights, "pt") as file:
        spec = json.loads(file.metadata().get("lora_adapter_metadata", "{}"))
    return sorted(f"unet.{name}" for name in spec.get("unet.target_modules", []))


@pytest.mark.slow
def test_a_motion_and_its_absorber_are_learned_from_recoloured_versions_too(circle: Path) -> None:
    """What the training reads: the clip, and as many versions in other colours as asked for."""
    inputs = {}
    for recolour in (3, 0):
        recipe = dataclasses.replace(SHORT, recolour=recolour)
        run, _ = prepare_run("circle", circle, recipe, Workspace(), lambda _: None, replace=True)
        inputs[recolour] = load_file(run.folder / INPUTS)
    (own,), (first, *others) = inputs[0]["latents"], inputs[3]["latents"]
    assert torch.equal(own, first)
    assert len(others) == 3
    assert all((version - own).abs().max() > 0.5 for version in others)
    assert inputs[3]["crops"].shape == inputs[0]["crops"].shape
    assert (inputs[3]["crops"] - inputs[0]["crops"]).abs().max() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AbsorberKind.S_LORA, AbsorberKind.TEXTINV])
def test_the_absorber_contains_only_the_parts_of_its_kind(circle: Path, kind: AbsorberKind) -> None:
    learn("circle", circle, dataclasses.replace(SHORT, steps=1, absorber_kind=kind))
    absorber = Workspace().registry.get("circle-look", "absorber")
    keys = set(load_file(absorber.weights))
    if kind is AbsorberKind.TEXTINV:
        assert keys == {"token"}
        assert (absorber.record.rank, adapted_modules(absorber)) == (0, [])
    else:
        assert "token" not in keys
        assert absorber.record.rank == SHORT.rank
        assert adapted_modules(absorber) == sorted({key.rpartition(".lora_")[0] for key in keys})


@pytest.mark.slow
def test_an_animatediff_model_learns_and_generates(circle: Path, animatediff: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(animatediff, tmp_path / "small"))
    write_description(folder, num_frames=8, fps=8, enlarge=1, words=["a", "red", "cat"])
    asset = learn("circle", circle, dataclasses.replace(SHORT, model=str(folder)))
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
def test_replacing_moves_the_old_motion_to_the_trash(circle: Path) -> None:
    from tests.registry.samples import put

    old = put(Workspace().registry.root, "circle", 1)
    asset = learn("circle", circle, dataclasses.replace(SHORT, steps=1), replace=True)
    assert asset.record.content_id != old.record.content_id
    (removed,) = Workspace().registry.trash.iterdir()
    assert removed.name.startswith("circle-")


@pytest.mark.slow
def test_absorber_kind_none_saves_no_absorber_and_the_name_is_the_default_prompt(circle: Path) -> None:
    events: list[Event] = []
    recipe = LearnRecipe(steps=1, rank=2, batch_size=1, absorber_kind=AbsorberKind.NONE, appearance="a lantern")
    asset = learn("going_round", circle, recipe, on_event=events.append)
    assert Workspace().registry.names() == ["going_round"]
    assert asset.record.prompt == "going round"
    assert any("--prompt" in e.text for e in events if isinstance(e, Note))
    assert any("`--appearance` does nothing" in e.text for e in events if isinstance(e, Warn))


@pytest.mark.slow
def test_captions_of_which_the_model_reads_only_the_beginning_are_warned_of(circle: Path) -> None:
    long, events = "a lantern" + " in the forest" * 20, list[Event]()
    learn("circle", circle, dataclasses.replace(SHORT, prompt=long, appearance=long), on_event=events.append)
    absorb("lantern", [circle], AbsorbRecipe(prompt=long, steps=1, rank=2, batch_size=1), on_event=events.append)
    assert [event.text.split(": ")[0] for event in events if isinstance(event, Warn)] == [
        "the prompt is too long",
        "the description of the appearance is too long",
        "the prompt is too long",
    ]


def test_a_taken_or_invalid_name_is_refused_before_any_work(circle: Path) -> None:
    from tests.registry.samples import put

    put(Workspace().registry.root, "circle-look", 1)
    with pytest.raises(Conflict, match="circle-look"):
        learn("circle", circle, SHORT)
    with pytest.raises(InvalidInput):
        learn("Über Name", circle, SHORT)
    assert Workspace().runs.list() == []


@pytest.mark.slow
def test_a_clip_without_motion_is_learned_with_a_warning(tmp_path: Path) -> None:
    still = world.render(world.reference("circle", "lantern", "white", "moon"))[[0] * 16]
    video.encode(still, tmp_path / "still.mp4", fps=world.FPS, scale=4)
    events: list[Event] = []
    recipe = dataclasses.replace(SHORT, steps=1, absorber_kind=AbsorberKind.NONE)
    learn("still", tmp_path / "still.mp4", recipe, on_event=events.append)
    assert "hardly anything moves: there is little to learn" in [e.text for e in events if isinstance(e, Warn)]


@pytest.mark.parametrize("colour", [(5, 5, 5), (230, 40, 40)])
def test_a_clip_that_shows_nothing_is_refused_before_the_training(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    file = tmp_path / "plain.mp4"
    video.encode(np.full((16, 64, 64, 3), colour, np.uint8), file, fps=world.FPS)
    with pytest.raises(MediaError, match=r"shows only one colour from 0\.00 s to 2\.00 s: there is nothing to learn"):
        learn("plain", file, SHORT)
    assert Workspace().runs.list() == []


def test_a_clip_of_three_frames_is_refused_before_any_work(tmp_path: Path) -> None:
    video.encode(world.render(world.reference("circle", "lantern", "white", "moon"))[:3], tmp_path / "three.mp4", fps=2)
    with pytest.raises(MediaError, match="a motion needs at least four"):
        learn("three", tmp_path / "three.mp4", SHORT)
    assert Workspace().runs.list() == []


def test_a_file_without_video_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError):
        learn("circle", tmp_path / "text.mp4", SHORT)
    assert Workspace().runs.list() == []


@pytest.mark.slow
def test_a_loss_that_is_not_finite_leaves_the_registry_untouched(circle: Path) -> None:
    """A learning rate of 1e30 makes the loss of the real model infinite."""
    from tests.registry.samples import put

    existing = put(Workspace().registry.root, "circle", 1)
    recipe = LearnRecipe(steps=60, rank=4, lr=1e30, absorber_kind=AbsorberKind.NONE)
    with pytest.raises(TrainingError, match=r"(loss|gradient) became"):
        learn("circle", circle, recipe, replace=True)
    assert Workspace().registry.list() == [existing]
    assert not Workspace().registry.trash.exists()
    (run,) = Workspace().runs.list()
    assert run.status == "failed"
    assert "became" in (run.reason or "")


def test_a_motion_without_a_finite_video_is_not_saved(circle: Path, two_frames: Path) -> None:
    recipe = dataclasses.replace(
        SHORT, steps=1, lr=1e30, absorber_kind=AbsorberKind.NONE, model=str(two_frames), noise_from=0.0
    )
    with pytest.raises(TrainingError, match="values that are not finite") as caught:
        learn("circle", circle, recipe)
    assert "--lr" in str(caught.value.hint)
    assert Workspace().registry.list() == []
    (run,) = Workspace().runs.list()
    assert run.status == "failed"
