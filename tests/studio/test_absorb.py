"""Absorbers as assets, and those of other tools, on the real cav-mini."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cavtool import video
from cavtool.core.backbones.protocol import Backbone
from cavtool.errors import Conflict, Incompatible, IntegrityFailure, InvalidInput, MediaError, NotFound
from cavtool.events import Event, Interrupted, Note, Stage, Step, Warn
from cavtool.mini import world
from cavtool.models import find_model
from cavtool.recipes import (
    ABSORBER_STEPS,
    STYLE_STEPS,
    Absorber,
    AbsorberKind,
    AbsorbRecipe,
    Blend,
    DType,
    LearnRecipe,
    SampleRecipe,
)
from cavtool.registry import Asset, Record, UsedAbsorber
from cavtool.schema import read
from cavtool.studio import own_stills
from cavtool.studio.absorb import absorb
from cavtool.studio.appearance import load_absorbers
from cavtool.studio.generate import generate
from cavtool.studio.learn import learn, prepare, resume
from cavtool.studio.session import Session, open_session
from cavtool.system.checksums import file_sha256
from cavtool.workspace import Workspace
from tests.core.test_lora import random_state
from tests.registry.samples import put
from tests.small_models import TEXT_WIDTH, save_dreambooth

ABSORB = AbsorbRecipe(prompt="a white lantern", steps=2, rank=2, batch_size=1, dtype=DType.FP32)
LEARN = LearnRecipe(prompt="a white lantern circles", steps=2, rank=2, batch_size=1, dtype=DType.FP32)
QUICK = SampleRecipe("a red cat", seed=5, steps=2)


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session("cav-mini")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures of several sizes and formats, one of them rotated, among other files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    image = Image.fromarray(world.render(world.reference("circle", "lantern", "white", "moon"))[0])
    image.resize((90, 50)).save(folder / "wide.png")
    image.resize((40, 70)).convert("L").save(folder / "high.jpg")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture
def spatial(session: Session, tmp_path: Path) -> Path:
    """A file of a random S-LoRA for cav-mini with a visible effect."""
    return save_kohya(session.backbone, tmp_path / "ghibli.v1.safetensors")


def save_kohya(backbone: Backbone, file: Path) -> Path:
    """Write a random S-LoRA in kohya's layout."""
    state = {}
    for key, value in random_state(backbone, backbone.spatial_targets(), 0).items():
        layer, _, matrix = key.removeprefix("unet.").partition(".lora_")
        name = {"A.weight": "lora_down", "B.weight": "lora_up"}[matrix]
        state[f"lora_unet_{layer.replace('.', '_')}.{name}.weight"] = value.half()
    save_file(state, file)
    return file


def weight(denoiser: Any, layer: str) -> torch.Tensor:
    """A copy of a layer's weight."""
    copied: torch.Tensor = denoiser.get_submodule(layer).weight.detach().clone()
    return copied


def put_absorber(tmp_path: Path, name: str, state: dict[str, torch.Tensor], **changes: Any) -> Asset:
    model = find_model("cav-mini")
    draft = Record(
        name=name,
        kind="absorber",
        origin="learned",
        base_model=model.name,
        fingerprint=model.fingerprint,
        revision=model.revision,
        prompt="",
        appearance="",
        rank=3,
    )
    save_file(state, tmp_path / f"{name}.weights")
    weights = {"weights.safetensors": tmp_path / f"{name}.weights"}
    return Workspace().registry.put(dataclasses.replace(draft, **changes), weights)


@pytest.mark.slow
def test_an_absorber_is_trained_from_videos_and_pictures(circle: Path, pictures: Path) -> None:
    events: list[Event] = []
    asset = absorb("lantern", [circle, pictures, pictures / "wide.png"], ABSORB, on_event=events.append)
    record = Workspace().registry.get("lantern", "absorber").record
    assert record == asset.record
    assert (record.appearance, record.rank, record.clip) == ("a white lantern", 2, None)
    assert record.recipe["num_frames"] == 16 + 2 + 1
    assert [(e.name, e.count) for e in events if isinstance(e, Stage)] == [("absorber", 1)]
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2]
    assert [e.text for e in events if isinstance(e, Note)] == ["not used, because they are not pictures: `notes.txt`"]
    state = load_file(asset.weights)
    assert "token" in state
    assert not any(re.search("temp_attentions|transformer_in|temp_convs", key) for key in state)
    assert any(value.abs().sum() > 0 for key, value in state.items() if "lora_B" in key)
    assert video.probe(asset.reference).width == 256
    assert Workspace().runs.list() == []
    token = absorb("token", [pictures], dataclasses.replace(ABSORB, kind=AbsorberKind.TEXTINV))
    assert (set(load_file(token.weights)), token.record.rank) == ({"token"}, 0)


@pytest.mark.slow
def test_a_style_is_trained_on_pictures_of_the_base_too(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_stills, "PROMPTS", ("a red cat in the snow", "a blue box in the desert"))
    monkeypatch.setattr(own_stills, "SAMPLING_STEPS", 2)
    events: list[Event] = []
    style = absorb("lantern", [pictures], dataclasses.replace(ABSORB, for_style=True), on_event=events.append)
    assert [(e.name, e.index, e.count) for e in events if isinstance(e, Stage)] == [
        ("pictures", 1, 2),
        ("absorber", 2, 2),
    ]
    assert [(e.stage, e.step, e.num_steps) for e in events if isinstance(e, Step)] == [
        *(("pictures", step, 2) for step in (1, 2)),
        *(("absorber", step, 2) for step in (1, 2)),
    ]
    assert (style.record.recipe["for_style"], style.record.recipe["steps"]) == (True, 2)
    usual = absorb("usual", [pictures], ABSORB)
    assert usual.record.recipe["for_style"] is False
    assert style.record.content_id != usual.record.content_id


def test_a_style_has_its_own_number_of_steps() -> None:
    style = AbsorbRecipe(prompt="a white lantern", for_style=True)
    assert (AbsorbRecipe().num_steps, style.num_steps) == (ABSORBER_STEPS, STYLE_STEPS)
    assert dataclasses.replace(style, steps=5).num_steps == 5
    with pytest.raises(InvalidInput, match="`--steps` must be at least 1"):
        AbsorbRecipe(steps=0)


@pytest.mark.slow
def test_an_interrupted_absorber_leaves_nothing(pictures: Path) -> None:
    command = [sys.executable, "-m", "cavtool", "absorb", "lantern", str(pictures), "--steps", "5000"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of tests in the background ignores it
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        assert process.stderr is not None
        while "[1/1] absorber" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert errors.endswith("note: no absorber was kept\nerror: interrupted\n")
    assert Workspace().registry.names() == []


def test_sources_that_cannot_be_used_are_refused_before_any_work(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        absorb("lantern", [tmp_path / "gone.png"], ABSORB)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="no pictures in"):
        absorb("lantern", [tmp_path / "empty"], ABSORB)
    with pytest.raises(MediaError, match="cannot read"):
        absorb("lantern", [pictures / "notes.txt"], ABSORB)
    (pictures / "cut.png").write_bytes((pictures / "wide.png").read_bytes()[:-300])
    with pytest.raises(MediaError, match=r"cut\.png"):
        absorb("lantern", [pictures], ABSORB)
    for colour in ((9, 9, 9), (250, 40, 40)):
        Image.new("RGB", (64, 64), colour).save(tmp_path / "plain.png")
        with pytest.raises(MediaError, match="the sources show only one colour"):
            absorb("lantern", [tmp_path / "plain.png"], ABSORB)
    with pytest.raises(InvalidInput, match="`--kind` must be"):
        dataclasses.replace(ABSORB, kind=AbsorberKind.NONE)
    put(Workspace().registry.root, "lantern", 1)
    with pytest.raises(Conflict, match="`lantern` already exists"):
        absorb("lantern", [pictures], ABSORB)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_preview")
def test_existing_absorbers_serve_in_stage_2_only_and_a_resumed_run_needs_their_files_no_more(
    circle: Path, two_frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Session] = []

    def opening(*args: Any, **kwargs: Any) -> Session:
        opened.append(open_session(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(prepare, "open_session", opening)
    usual = open_session(str(two_frames)).backbone
    spatial = save_kohya(usual, tmp_path / "ghibli.v1.safetensors")
    model = find_model(str(two_frames))
    of_model = {"base_model": model.name, "fingerprint": model.fingerprint, "revision": model.revision}
    token = put_absorber(tmp_path, "lantern", {"token": torch.ones(2, TEXT_WIDTH) / 10}, **of_model)
    layer = usual.spatial_targets()[0]
    original = weight(usual.denoiser, layer)
    key, state = f"lora_unet_{layer.replace('.', '_')}", load_file(spatial)
    up, down = (state[f"{key}.lora_{name}.weight"].float() for name in ("up", "down"))
    seen: dict[str, torch.Tensor] = {}

    def on_event(event: Event) -> None:
        if isinstance(event, Step):
            denoiser = opened[0].backbone.denoiser
            seen[event.stage] = weight(denoiser, layer)
            trainable = [name for name, param in denoiser.named_parameters() if param.requires_grad]
            assert all(re.search("temp_attentions|transformer_in|temp_convs", name) for name in trainable)
            assert bool(trainable) == (event.stage == "motion")

    def interrupt(event: Event) -> None:
        if isinstance(event, Step):
            os.kill(os.getpid(), signal.SIGINT)

    absorbers = (Absorber("lantern"), Absorber(str(spatial), 0.5))
    recipe = dataclasses.replace(LEARN, model=str(two_frames), absorbers=absorbers)
    uncut = learn("circle", circle, recipe, on_event=on_event)
    assert list(seen) == ["motion", "preview"]
    torch.testing.assert_close(seen["motion"], original + 0.5 * up @ down)
    assert torch.equal(seen["preview"], original)
    assert Workspace().registry.names() == ["circle", "lantern"]
    assert uncut.record.absorbers == (
        UsedAbsorber(name="lantern", kind="textinv", content_id=token.record.content_id, weight=1.0),
        UsedAbsorber(name="ghibli.v1.safetensors", kind="s-lora", content_id=file_sha256(spatial), weight=0.5),
    )
    assert not {"absorber_kind", "absorbers", "recolour"} & uncut.record.recipe.keys()
    assert str(tmp_path) not in (uncut.folder / "record.toml").read_text()
    with pytest.raises(Interrupted) as caught:
        learn("circle", circle, recipe, replace=True, on_event=interrupt)
    Workspace().registry.remove("lantern")
    spatial.unlink()
    run = Workspace().runs.open(caught.value.run_id)
    assert str(spatial) not in (run.folder / "run.toml").read_text()
    resumed = resume(run.id)
    assert (resumed.record.content_id, resumed.record.absorbers) == (uncut.record.content_id, uncut.record.absorbers)


@pytest.mark.slow
def test_what_of_an_absorber_is_not_used_is_reported(session: Session, spatial: Path, tmp_path: Path) -> None:
    state = load_file(spatial) | {f"lora_te_{n}.lora_up.weight": torch.zeros(1) for n in range(4)}
    state |= {"token": torch.ones(1, 128)}
    save_file(state, tmp_path / "more.safetensors")
    put_absorber(tmp_path, "old", {"token": torch.ones(2, 128)}, revision="0" * 12)
    events: list[Event] = []
    requested = [Absorber(str(tmp_path / "more.safetensors"), 2.0), Absorber("old")]
    first, _ = load_absorbers(requested, session, Workspace(), events.append)
    assert first.used.kind == "dual"
    (unused,) = [e.text for e in events if isinstance(e, Note)]
    assert unused.startswith("not used: 4 entries of `more.safetensors` without a matching spatial layer: `lora_te_0.")
    assert unused.endswith(", …")
    applies, other = [e.text for e in events if isinstance(e, Warn)]
    assert applies == "the weight of `more.safetensors` applies to its LoRA only: a learned token has none"
    assert other.startswith("`old` was learned on different weights of `cav-mini`")


def test_absorbers_that_cannot_be_used_are_refused_before_any_work(
    circle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put_absorber(tmp_path, "foreign", {"token": torch.ones(1, 128)}, base_model="zeroscope", fingerprint="0" * 16)
    put_absorber(tmp_path, "narrow", {"token": torch.ones(1, 64)})
    put(Workspace().registry.root, "twirl", 1)
    (tmp_path / "unet").mkdir()
    for absorber, error, message, hint in (
        (Absorber("foreigm"), NotFound, "no absorber named `foreigm`", "did you mean `foreign`?"),
        (Absorber("twirl"), NotFound, "no absorber named `twirl`", "`twirl` is a motion"),
        (Absorber("unet"), NotFound, "no absorber named `unet`", "write `./unet` for the folder"),
        (Absorber("gone.pt"), NotFound, "no file `gone.pt`", "give the path"),
        (Absorber(str(circle)), IntegrityFailure, "is not a file of weights", "`cav absorb NAME"),
        (Absorber("foreign"), Incompatible, "learned on `zeroscope` and does not fit `cav-mini`", "--model"),
        (Absorber("narrow"), Incompatible, "width 64; those of `cav-mini` have width 128", "text encoder"),
    ):
        with pytest.raises(error, match=message) as caught:
            learn("circle", circle, dataclasses.replace(LEARN, absorbers=(absorber,)))
        assert hint in (caught.value.hint or "")
    assert Workspace().runs.list() == []


@pytest.mark.slow
def test_a_style_is_used_at_all_timesteps_and_written_into_the_recipe(
    session: Session, spatial: Path, tmp_path: Path
) -> None:
    put_absorber(tmp_path, "lantern", {"token": torch.ones(2, 128)})
    layer: Any = session.backbone.denoiser.get_submodule(session.backbone.spatial_targets()[0])
    original, merged = layer.weight.data_ptr(), []

    def on_event(event: Event) -> None:
        if isinstance(event, Step):
            merged.append(layer.weight.data_ptr() != original)

    styles = (Absorber(str(spatial), 0.3), Absorber("lantern"))
    recipe = dataclasses.replace(QUICK, styles=styles)
    (file,) = generate(recipe, output=tmp_path / "styled", session=session, on_event=on_event)
    assert file.name == "a-red-cat-ghibli-v1-0.3-lantern-5.mp4"
    assert merged == [True, True]
    assert layer.weight.data_ptr() == original
    recorded = video.read_recipe(file)
    assert recorded is not None
    assert [(each["name"], each["weight"], each["kind"]) for each in recorded["styles"]] == [
        ("ghibli.v1.safetensors", 0.3, "s-lora"),
        ("lantern", 1.0, "textinv"),
    ]
    assert recorded["styles"][0]["content_id"] == file_sha256(spatial)
    assert str(tmp_path) not in str(recorded)
    (entry,) = Workspace().history.entries()
    assert isinstance(entry.recipe, SampleRecipe)
    assert entry.recipe.styles[0].name == str(spatial)
    (again,) = generate(entry.recipe, output=tmp_path / "again.mp4", session=session)
    assert again.read_bytes() == file.read_bytes()
    save_file(load_file(spatial) | {"other": torch.zeros(1)}, spatial)
    events: list[Event] = []
    generate(entry.recipe, output=tmp_path / "changed.mp4", session=session, on_event=events.append)
    assert any("`ghibli.v1.safetensors` has been replaced since" in e.text for e in events if isinstance(e, Warn))
    with pytest.raises(NotFound, match=r"no file `ghibli\.v1\.safetensors`"):
        generate(read(recorded, SampleRecipe, "the recipe"), output=tmp_path / "gone.mp4", session=session)


@pytest.mark.slow
def test_each_part_of_a_style_has_an_effect_and_none_changes_nothing(session: Session, spatial: Path) -> None:
    def made(*styles: dict[str, torch.Tensor], prompt: str = "a red cat") -> Any:
        return session.generate(prompt, 5, styles=styles, steps=2, guidance=3.0).astype(int)

    state = random_state(session.backbone, session.backbone.spatial_targets(), 0)
    plain = made()
    assert np.array_equal(made(prompt="a red cat *"), plain)
    assert np.abs(made(state) - plain).mean() > 2
    end, start = (made({"token": torch.ones(2, 128)}, prompt=prompt) for prompt in ("a red cat", "* a red cat"))
    assert np.abs(end - plain).mean() > 0.1
    assert np.abs(end - start).mean() > 0.1, "the token does not stand where the prompt has `*`"
    assert np.array_equal(made(), plain)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_preview")
def test_a_whole_unet_is_an_absorber_but_not_a_style(circle: Path, modelscope: Path, tmp_path: Path) -> None:
    save_dreambooth("modelscope", tmp_path / "dreambooth")
    absorbers = (Absorber(str(tmp_path / "dreambooth")),)
    recipe = dataclasses.replace(LEARN, model=str(modelscope), absorbers=absorbers, steps=1)
    motion = learn("circle", circle, recipe)
    (used,) = motion.record.absorbers
    assert (used.name, used.kind) == ("dreambooth", "dreambooth")
    assert used.content_id == file_sha256(tmp_path / "dreambooth" / "diffusion_pytorch_model.safetensors")
    styled = SampleRecipe("a red cat", motions=(Blend("circle"),), model=str(modelscope), styles=absorbers)
    with pytest.raises(InvalidInput, match="`dreambooth` is a whole UNet and cannot be a style"):
        generate(styled, output=tmp_path / "x.mp4")
