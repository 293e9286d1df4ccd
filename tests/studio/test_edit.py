"""Edits of real files, on cav-mini and on a small random model."""

import dataclasses
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.errors import CavError, Conflict, InvalidInput, MediaError, NotFound
from cavtool.events import Event, Note, Stage, Step, Warn
from cavtool.history import EditEntry
from cavtool.mini import world
from cavtool.recipes import Absorber, Blend, EditRecipe, EditStart
from cavtool.studio.edit import edit, edit_frames
from cavtool.studio.session import Session, open_session
from cavtool.video.probe import sound_codec
from cavtool.workspace import Workspace
from tests.core.test_lora import random_state
from tests.studio.test_generate import record
from tests.video.films import FFMPEG, H264, clock

QUICK = EditRecipe("a blue rocket in the forest", source_prompt="a red cat in the forest", steps=2, strength=1.0)
NOTHING = dataclasses.replace(QUICK, strength=0.0)
SCENE = world.Scene("cat", "red", "forest", 3, {}, "a red cat in the forest")


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session("cav-mini")


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a cat."""
    file = tmp_path_factory.mktemp("cat") / "cat.mp4"
    video.encode(world.render(SCENE), file, fps=world.FPS, scale=2)
    return file


@pytest.fixture
def shaky(session: Session, tmp_path: Path) -> str:
    """A random motion in the registry with a visible effect."""
    state = random_state(session.backbone, session.backbone.temporal_targets(), 0)
    lora.save(state, tmp_path / "weights", {"format": "pt"})
    Workspace().registry.put(record("shaky"), {"weights.safetensors": tmp_path / "weights"})
    return "shaky"


def pixels(file: Path, num_frames: int = 16) -> video.Frames:
    return video.decode_whole(file, num_frames=num_frames, width=64, height=64).astype(int)


def distance(a: Path, b: Path) -> float:
    return float(np.abs(pixels(a) - pixels(b)).mean())


def warnings_of(events: Sequence[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Warn)]


@pytest.mark.slow
def test_the_same_prompt_without_guidance_returns_the_video(session: Session) -> None:
    frames = world.render(SCENE, 4)
    same = dataclasses.replace(QUICK, prompt=QUICK.source_prompt, guidance=1.0, steps=10)
    made = edit_frames(session, frames, same).astype(float)
    encoded = session.backbone.decode(session.backbone.encode_clip(frames)).astype(float)
    assert np.mean((made - encoded) ** 2) < 255**2 / 10**3, "less than 30 dB at 10 steps"


@pytest.mark.slow
@pytest.mark.parametrize("has_sound", [True, False])
def test_an_edit_has_the_size_rate_length_and_sound_of_its_source(
    session: Session, cat: Path, tmp_path: Path, has_sound: bool
) -> None:
    """25 frames a second, 16:9 with an odd side, 1.5 s: no size, rate or length of the model's."""
    source, events = tmp_path / "wide.mkv", list[Event]()
    tone = ("-f", "lavfi", "-t", "1.5", "-i", "sine=frequency=440")
    wide = ("-vf", "scale=171:96,fps=25", "-c:v", "libx264", "-pix_fmt", "yuv444p", "-c:a", "aac", "-t", "1.5")
    no_sound = () if has_sound else ("-an",)
    subprocess.run([FFMPEG, "-v", "error", "-i", str(cat), *tone, *wide, *no_sound, str(source)], check=True)
    file = edit(source, NOTHING, output=tmp_path / "made.mp4", session=session, on_event=events.append)
    before, after = video.probe(source), video.probe(file)
    assert (after.width, after.height, after.fps) == (172, 96, 25)
    assert after.num_frames == before.num_frames
    assert after.duration == pytest.approx(before.duration, abs=0.04)
    assert sound_codec(file) == ("aac" if has_sound else "")
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert note.startswith("`cav-mini` edits 16 frames of 80x48; written as 172x96 at 25 frames per second")
    assert warnings_of(events) == ["`--strength 0` changes nothing: it runs none of the 2 steps"]
    # Nothing was cropped: what the autoencoder alone makes of the source is near it everywhere.
    error = np.abs(pixels(source, 8) - pixels(file, 8))
    assert error.mean() < 12
    assert max(error[:, :, :4].mean(), error[:, :, -4:].mean()) < 12


@pytest.mark.slow
def test_a_long_video_is_edited_in_windows(session: Session, tmp_path: Path) -> None:
    source, events, u = tmp_path / "long.mp4", list[Event](), np.arange(28) / 28
    courses = {name: np.zeros(28) for name in world.CHANNELS} | {"x": 0.2 * u}
    video.encode(world.render(dataclasses.replace(SCENE, controls=courses), 28), source, fps=world.FPS)
    recipe = dataclasses.replace(QUICK, strength=0.5)
    file = edit(source, recipe, output=tmp_path, session=session, on_event=events.append)
    assert file.name == "long-a-blue-rocket-in-the-forest.mp4"
    assert video.probe(file).num_frames == 28
    assert any("28 frames of 64x64 in 3 overlapping windows" in e.text for e in events if isinstance(e, Note))
    assert [e for e in events if isinstance(e, Stage)] == [Stage("inverting", 1, 2), Stage("sampling", 2, 2)]
    assert [(e.stage, e.step, e.num_steps) for e in events if isinstance(e, Step)] == [
        ("inverting", 1, 1),
        ("sampling", 1, 1),
    ]


@pytest.mark.slow
def test_the_file_holds_the_recipe_and_the_history_makes_it_again(session: Session, cat: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(QUICK, start=EditStart.NOISE, strength=0.5)
    file = edit(cat, recipe, output=tmp_path / "first.mp4", session=session)
    recorded = video.read_recipe(file)
    assert recorded is not None
    made = recorded["edit"]
    assert {"prompt", "start", "strength", "seed", "model", "revision", "video_sha256"} <= made.keys()
    assert str(cat.parent) not in str(recorded)
    entry = Workspace().history.entry(1)
    assert isinstance(entry, EditEntry)
    assert (entry.video, entry.files, entry.recipe.seed) == (str(cat), (str(file),), made["seed"])
    again = edit(Path(entry.video), entry.recipe, output=tmp_path / "again.mp4", session=session)
    assert again.read_bytes() == file.read_bytes()
    other = dataclasses.replace(entry.recipe, seed=made["seed"] + 1)
    assert distance(edit(cat, other, output=tmp_path / "other.mp4", session=session), file) > 1
    bare = edit(cat, NOTHING, output=tmp_path / "bare.mp4", metadata=False, session=session)
    assert video.read_recipe(bare) is None


@pytest.mark.slow
def test_a_motion_changes_the_edit_and_is_removed_afterwards(
    session: Session, shaky: str, cat: Path, tmp_path: Path
) -> None:
    def made(name: str, *motions: Blend) -> Path:
        recipe = dataclasses.replace(QUICK, motions=motions, strength=0.5)
        return edit(cat, recipe, output=tmp_path / name, session=session)

    base, moved = made("base.mp4"), made("moved.mp4", Blend(shaky))
    assert distance(base, moved) > 1
    assert distance(base, made("none.mp4", Blend(shaky, 0.0))) == 0
    assert distance(base, made("again.mp4")) == 0, "the motion stayed in the model"


@pytest.mark.slow
def test_motions_take_turns_in_an_edit(session: Session, shaky: str, cat: Path, tmp_path: Path) -> None:
    def made(name: str, *motions: Blend, turns: bool) -> Path:
        recipe = dataclasses.replace(QUICK, motions=motions, turns=turns, strength=0.5)
        return edit(cat, recipe, output=tmp_path / name, session=session)

    alone, twice = made("alone.mp4", Blend(shaky), turns=False), [Blend(shaky)] * 2
    assert distance(made("turns.mp4", *twice, turns=True), alone) == 0
    assert distance(made("added.mp4", *twice, turns=False), alone) > 0


@pytest.mark.slow
def test_a_style_changes_the_edit_and_is_recorded(session: Session, cat: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    token = {"look": torch.randn(2, session.backbone.token_like("a", 1).shape[-1], generator=generator)}
    save_file(token, tmp_path / "look.safetensors")
    plain = edit(cat, QUICK, output=tmp_path / "plain.mp4", session=session)
    styled = dataclasses.replace(QUICK, styles=(Absorber(str(tmp_path / "look.safetensors")),))
    file = edit(cat, styled, output=tmp_path, session=session)
    assert file.name.endswith("-a-blue-rocket-in-the-forest-look.mp4")
    assert distance(file, plain) > 1
    recorded = video.read_recipe(file)
    assert recorded is not None
    assert [style["kind"] for style in recorded["edit"]["styles"]] == ["textinv"]


@pytest.mark.slow
def test_ten_motions_add_up(session: Session, shaky: str, cat: Path, tmp_path: Path) -> None:
    quick = EditRecipe(QUICK.prompt, start=EditStart.NOISE, strength=1.0, steps=1, seed=3)
    none, one, ten = (
        edit(cat, dataclasses.replace(quick, motions=motions), output=tmp_path / f"{len(motions)}.mp4", session=session)
        for motions in ((), (Blend(shaky),), (Blend(shaky, 0.1),) * 10)
    )
    assert distance(one, ten) < 0.5
    assert distance(one, none) > 1


@pytest.mark.slow
def test_what_has_no_effect_is_warned_about(session: Session, shaky: str, cat: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    recipe = EditRecipe(
        "a red wombat" + " in the forest" * 20,
        source_prompt="cat" + " in the forest" * 20,
        negative="a dog" + " in the desert" * 20,
        motions=(Blend(shaky),),
        strength=0.0,
        seed=3,
        steps=2,
    )
    edit(cat, recipe, output=tmp_path, session=session, on_event=events.append)
    unknown, long, negative_long, source_long, seed, strength, motion = warnings_of(events)
    assert "`wombat`" in unknown
    assert long.startswith("the prompt is too long")
    assert negative_long.startswith("the negative prompt is too long")
    assert source_long.startswith("the source prompt is too long")
    assert seed == "`--seed` does nothing with `--start ddim`"
    assert "changes nothing" in strength
    assert motion.startswith("`shaky` does nothing at `--strength 0`")


@pytest.mark.slow
def test_a_model_of_modelscope_s_architecture_edits(modelscope: Path, cat: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(QUICK, model=str(modelscope))
    file = edit(cat, recipe, output=tmp_path)
    assert (video.probe(file).width, video.probe(file).num_frames) == (128, 16)


def still_image(folder: Path) -> Path:
    video.encode(clock(4), folder / "still.png", fps=8)
    return folder / "still.png"


def three_frames(folder: Path) -> Path:
    video.encode(clock(3), folder / "short.mp4", fps=8)
    return folder / "short.mp4"


def black(folder: Path) -> Path:
    video.encode(np.zeros((16, 64, 64, 3), np.uint8), folder / "black.mp4", fps=8)
    return folder / "black.mp4"


def sound_only(folder: Path) -> Path:
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-t", "1", "-i", "sine", str(folder / "sound.m4a")]
    subprocess.run(command, check=True)
    return folder / "sound.m4a"


def truncated(folder: Path, *options: str) -> Path:
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-t", "2", "-i", "testsrc=size=64x64", *H264, *options]
    subprocess.run([*command, str(folder / "whole.mp4")], check=True)
    data = (folder / "whole.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(data[: len(data) * 9 // 10])
    return folder / "truncated.mp4"


def truncated_but_playing(folder: Path) -> Path:
    """With its index at the beginning, as files for the web have it."""
    return truncated(folder, "-movflags", "+faststart")


@pytest.mark.parametrize(
    ("make_source", "message"),
    [
        (still_image, "has fewer than two readable frames"),
        (three_frames, "has only 3 frames"),
        (black, "shows only one colour"),
        (sound_only, "holds no video"),
        (truncated, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_edited_is_refused(
    make_source: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    source = make_source(tmp_path)
    with pytest.raises(MediaError, match=message) as caught:
        edit(source, QUICK, output=tmp_path / "made.mp4")
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert not (tmp_path / "made.mp4").exists()


def test_a_file_that_is_cut_short_is_edited_with_a_warning(session: Session, tmp_path: Path) -> None:
    source, events = truncated_but_playing(tmp_path), list[Event]()
    edit(source, QUICK, output=tmp_path / "made.mp4", session=session, on_event=events.append)
    assert Warn(f"`{source}` is truncated: its end is missing") in events


@pytest.mark.parametrize(
    ("changes", "output", "error", "message"),
    [
        ({"motions": (Blend("gone"),)}, "made.mp4", NotFound, "no motion named `gone`"),
        ({}, "there.mp4", Conflict, r"there\.mp4` already exists"),
        ({}, "cat.mp4", InvalidInput, r"cat\.mp4`: it is the video to edit"),
        ({}, "made.gif", InvalidInput, r"cannot write `made\.gif`"),
        ({"model": "gone"}, "made.mp4", CavError, "gone"),
    ],
)
def test_names_and_files_are_checked_first(
    cat: Path,
    tmp_path: Path,
    changes: dict[str, object],
    output: str,
    error: type[CavError],
    message: str,
) -> None:
    source = tmp_path / "cat.mp4"
    source.write_bytes(cat.read_bytes())
    (tmp_path / "there.mp4").write_bytes(b"precious")
    with pytest.raises(error, match=message) as caught:
        edit(source, dataclasses.replace(QUICK, **changes), output=tmp_path / output)  # type: ignore[arg-type]
    assert caught.value.hint
    assert (tmp_path / "there.mp4").read_bytes() == b"precious"
    assert source.read_bytes() == cat.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} <= {"cat.mp4", "there.mp4", "home"}


def test_the_video_itself_is_not_overwritten_either(cat: Path) -> None:
    with pytest.raises(InvalidInput, match="is the video to edit"):
        edit(cat, QUICK, output=cat, overwrite=True)


def test_one_step_from_pure_noise_cannot_be_inverted(session: Session, cat: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(QUICK, steps=1)
    with pytest.raises(InvalidInput, match="one sampling step cannot be inverted") as refused:
        edit(cat, recipe, output=tmp_path / "made.mp4", session=session)
    assert refused.value.hint
    assert not (tmp_path / "made.mp4").exists()
    assert edit(cat, dataclasses.replace(recipe, start=EditStart.NOISE), output=tmp_path / "made.mp4", session=session)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": " "}, "the prompt is empty"),
        ({"strength": 1.1}, "`--strength` must be from 0 to 1"),
        ({"strength": float("nan")}, "`--strength` must be from 0 to 1"),
        ({"steps": 0}, "`--steps` must be from 1 to"),
        ({"guidance": -1.0}, "`--guidance` must be from 0 to 100"),
        ({"seed": -1}, "`--seed` must be from 0"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        dataclasses.replace(QUICK, **changes)  # type: ignore[arg-type]
