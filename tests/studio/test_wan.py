"""Wan models through the workflows, on small random weights."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cavtool import video
from cavtool.core.adapters.lora import targets
from cavtool.errors import Incompatible
from cavtool.events import Event, Note, Warn
from cavtool.models import DESCRIPTION, find_model
from cavtool.recipes import (
    Absorber,
    AbsorberKind,
    AbsorbRecipe,
    Blend,
    DType,
    EditRecipe,
    EditStart,
    Layout,
    LearnRecipe,
    MixRecipe,
    SampleRecipe,
)
from cavtool.studio.absorb import absorb
from cavtool.studio.appearance import load_absorbers
from cavtool.studio.edit import edit, edit_frames
from cavtool.studio.generate import generate
from cavtool.studio.learn import learn
from cavtool.studio.mix import mix
from cavtool.studio.session import Motion, Session, motion_of, open_session
from cavtool.studio.transfer import export_loras, import_lora
from cavtool.workspace import Workspace
from tests.small_models import save_wan

pytestmark = pytest.mark.usefixtures("quick_preview")


def described(folder: Path, *, num_frames: int) -> Path:
    """The folder, with a description of its clips."""
    values = {"num_frames": num_frames, "fps": 8, "width": 32, "height": 32}
    (folder / DESCRIPTION).write_text(json.dumps(values))
    return folder


@pytest.fixture(scope="module")
def two_experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Wan 2.2 A14B with clips of 21 frames of 32 x 32 pixels."""
    folder = save_wan(tmp_path_factory.mktemp("wan") / "a14b", "a14b")
    return described(folder, num_frames=21)


def recipe_for(folder: Path, **changes: Any) -> LearnRecipe:
    short = {"steps": 2, "absorber_steps": 1, "rank": 2, "batch_size": 2, "noise_from": 0.0, "lr": 0.05, "seed": 3}
    return LearnRecipe("a lantern twirls", dtype=DType.FP32, model=str(folder), **(short | changes))


def test_a_motion_is_learned_on_both_experts_and_applied(two_experts: Path, circle: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    asset = learn("circle", circle, recipe_for(two_experts), on_event=events.append)
    assert not [event for event in events if isinstance(event, Warn)]
    motion, absorber = (load_file(Workspace().registry.get(name).weights) for name in ("circle", "circle-look"))
    parts = {"transformer", "transformer_2"}
    assert {key.partition(".")[0] for key in motion} == parts
    assert {key.partition(".")[0] for key in absorber} == parts | {"token"}
    with safe_open(asset.weights, "pt") as file:
        metadata = file.metadata()
    heads = json.loads(metadata["cav.temporal_heads"])
    for layer, numbers in heads.items():
        for projection in "qk":
            rows = motion[f"{layer}.to_{projection}.lora_B.weight"].abs().sum(1).view(3, -1).sum(1)
            assert set(rows.nonzero().flatten().tolist()) <= set(numbers)
            rows = absorber[f"{layer}.to_{projection}.lora_B.weight"].abs().sum(1).view(3, -1).sum(1)
            assert not set(rows.nonzero().flatten().tolist()) & set(numbers)
    assert set(json.loads(metadata["lora_adapter_metadata"])) >= {f"{part}.lora_alpha" for part in parts}
    recipe = SampleRecipe("a red cat", seed=1, steps=2, dtype=DType.FP32, model=str(two_experts))
    moved = SampleRecipe("a red cat", (Blend("circle"),), seed=1, steps=2, dtype=DType.FP32, model=str(two_experts))
    (plain,), (video,) = (generate(each, output=tmp_path / f"{i}.mp4") for i, each in enumerate((recipe, moved)))
    assert plain.read_bytes() != video.read_bytes()


def test_an_absorber_of_a_video_leaves_the_heads_that_look_across_frames(two_experts: Path, circle: Path) -> None:
    short: Any = {"steps": 1, "rank": 2, "batch_size": 1, "lr": 0.05, "seed": 3, "dtype": DType.FP32}
    recipe = AbsorbRecipe("a lantern twirls", kind=AbsorberKind.S_LORA, model=str(two_experts), **short)
    learned = load_file(absorb("look", [circle], recipe).weights)
    with safe_open(learn("circle", circle, recipe_for(two_experts)).weights, "pt") as file:
        heads = json.loads(file.metadata()["cav.temporal_heads"])
    assert any(heads.values())
    assert any(value.any() for key, value in learned.items() if "to_q.lora_B" in key)
    for layer, numbers in heads.items():
        rows = learned[f"{layer}.to_q.lora_B.weight"].abs().sum(1).view(3, -1).sum(1)
        assert not set(rows.nonzero().flatten().tolist()) & set(numbers)


def test_a_motion_of_one_expert_only_comes_with_a_warning(two_experts: Path, circle: Path) -> None:
    """With a shift of 3, the boundary of 0.875 is at the share 0.7 of the schedule."""
    events: list[Event] = []
    recipe = recipe_for(two_experts, absorber_kind=AbsorberKind.NONE, noise_from=0.8)
    state = load_file(learn("late", circle, recipe, on_event=events.append).weights)
    (warning,) = [event.text for event in events if isinstance(event, Warn)]
    assert warning.startswith("with `--noise-from 0.8`, only the high-noise expert of `a14b` learns")
    assert "below 0.70, both do" in warning
    assert {key.partition(".")[0] for key, value in state.items() if "lora_B" in key and value.any()} == {"transformer"}


def test_a_long_video_is_edited_in_windows_of_latents(circle: Path, tmp_path: Path) -> None:
    """Two seconds at 8 frames per second are 17 frames, five of latents; a clip of 9 frames has three."""
    folder = described(save_wan(tmp_path / "wan"), num_frames=9)
    events: list[Event] = []
    recipe = EditRecipe("a red cat", steps=2, strength=0.5, model=str(folder))
    file = edit(circle, recipe, output=tmp_path / "made.mp4", on_event=events.append)
    assert video.probe(file).num_frames == video.probe(circle).num_frames == 16
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes[0].startswith("`wan` edits 17 frames of 32x32 in 3 overlapping windows")


def test_the_same_prompt_without_guidance_returns_the_video(two_experts: Path) -> None:
    session = open_session(str(two_experts), dtype="fp32")
    frames = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), np.uint8)
    same = EditRecipe("a red cat", source_prompt="a red cat", guidance=1.0, strength=1.0, steps=40)
    made = edit_frames(session, frames, same).astype(float)
    encoded = session.backbone.decode(session.backbone.encode_clip(frames)).astype(float)
    assert np.mean((made - encoded) ** 2) < 255**2 / 10**3, "less than 30 dB"
    assert np.abs(made[0] - made[-1]).mean() > 0


@pytest.mark.parametrize("layout", [Layout.DIFFUSERS, Layout.COMFY])
def test_an_exported_motion_gives_our_video_in_diffusers(
    two_experts: Path, circle: Path, tmp_path: Path, layout: Layout
) -> None:
    """One file for each expert, since nothing in a file of this layout says which expert it is for."""
    motion = motion_of(learn("circle", circle, recipe_for(two_experts, absorber_kind=AbsorberKind.NONE)))
    events: list[Event] = []
    files = export_loras(["circle"], layout, output=tmp_path, on_event=events.append)
    assert [file.name for file in files] == ["circle_high_noise.safetensors", "circle_low_noise.safetensors"]
    assert [event.text.partition(":")[0] for event in events if isinstance(event, Note)] == [
        "`circle` becomes two files"
    ]
    session = open_session(str(two_experts), dtype="fp32")
    noise = torch.randn(session.backbone.latent_shape(21, 32, 32), generator=torch.Generator().manual_seed(1))
    ours, plain = (sampled(session, noise, motions) for motions in ([motion], []))
    pipeline = DiffusionPipeline.from_pretrained(two_experts)
    pipeline.load_lora_weights(str(files[0]), adapter_name="high")
    pipeline.load_lora_weights(str(files[1]), adapter_name="low", load_into_transformer_2=True)
    pipeline.set_progress_bar_config(disable=True)
    size = {"num_frames": 21, "height": 32, "width": 32}
    made = pipeline(
        "a red cat",
        negative_prompt="a car",
        guidance_scale=5.0,
        latents=noise,
        num_inference_steps=4,
        output_type="latent",
        **size,
    ).frames
    torch.testing.assert_close(ours, made, atol=1e-4, rtol=0)
    assert (ours - plain).abs().max() > 1e-2


def test_an_edit_can_start_from_noised_frames(two_experts: Path) -> None:
    session = open_session(str(two_experts), dtype="fp32")
    frames = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), np.uint8)
    encoded = session.backbone.decode(session.backbone.encode_clip(frames)).astype(int)
    recipe = EditRecipe("a red cat", start=EditStart.NOISE, steps=20, seed=1)
    changes = [
        np.abs(edit_frames(session, frames, replace(recipe, strength=strength)) - encoded).mean()
        for strength in (0.0, 0.1, 0.9)
    ]
    assert changes[0] == 0
    assert 0 < changes[1] < changes[2]


def test_the_files_of_two_experts_are_imported_and_mixed_into_one_motion(
    two_experts: Path, circle: Path, tmp_path: Path
) -> None:
    learned = load_file(learn("circle", circle, recipe_for(two_experts, absorber_kind=AbsorberKind.NONE)).weights)
    files = export_loras(["circle"], Layout.KOHYA, output=tmp_path)
    events: list[Event] = []
    model = find_model(str(two_experts))
    for name, file in zip(("high", "low"), files, strict=True):
        import_lora(file, model, name=name, on_event=events.append)
    assert [event.text.partition(":")[0] for event in events if isinstance(event, Note)] == [
        "`circle_high_noise.safetensors` is for the high-noise expert only",
        "`circle_low_noise.safetensors` is for the low-noise expert only",
    ]
    both = load_file(mix("both", MixRecipe((Blend("high"), Blend("low")))).weights)
    assert both.keys() == learned.keys()
    for layer in (key.removesuffix(".lora_A.weight") for key in learned if key.endswith("lora_A.weight")):
        expected = learned[f"{layer}.lora_B.weight"] @ learned[f"{layer}.lora_A.weight"]
        torch.testing.assert_close(both[f"{layer}.lora_B.weight"] @ both[f"{layer}.lora_A.weight"], expected)


def test_a_style_for_one_expert_comes_with_a_note(two_experts: Path, tmp_path: Path) -> None:
    pair = {"lora_A.weight": torch.ones(1, 36), "lora_B.weight": torch.ones(36, 1)}
    for file in ("style.safetensors", "style_low_noise.safetensors"):
        save_file({f"diffusion_model.blocks.0.self_attn.v.{key}": each for key, each in pair.items()}, tmp_path / file)
    events: list[Event] = []
    session = open_session(str(two_experts), dtype="fp32")
    files = [Absorber(str(tmp_path / name)) for name in ("style.safetensors", "style_low_noise.safetensors")]
    high, low = load_absorbers(files, session, Workspace(), events.append)
    assert targets(high.state) == ("transformer.blocks.0.attn1.to_v",)
    assert targets(low.state) == ("transformer_2.blocks.0.attn1.to_v",)
    assert [event.text.split(":")[0] for event in events if isinstance(event, Note)] == [
        "`style.safetensors` applies to the high-noise expert only",
        "`style_low_noise.safetensors` applies to the low-noise expert only",
    ]


def sampled(session: Session, noise: torch.Tensor, motions: list[Motion]) -> torch.Tensor:
    """The latents of a video of four steps."""
    backbone, scheduler = session.backbone, session.backbone.scheduler()
    scheduler.set_timesteps(4)
    texts = {"positive": backbone.encode_text(["a red cat"]), "negative": backbone.encode_text(["a car"])}
    return session.denoise(partial(backbone.predict_guided, **texts, guidance_scale=5.0), scheduler, noise, motions)


def test_a_clip_length_that_does_not_fit_is_refused_with_the_nearest(circle: Path, tmp_path: Path) -> None:
    folder = described(save_wan(tmp_path / "wan"), num_frames=16)
    with pytest.raises(Incompatible, match="16 frames") as caught:
        learn("circle", circle, recipe_for(folder))
    assert caught.value.hint == "use 17 frames"
    with pytest.raises(Incompatible, match="16 frames"):
        generate(SampleRecipe("a red cat", seed=1, steps=2, model=str(folder)), output=tmp_path / "made.mp4")


def test_without_temporal_heads_all_are_trained_with_a_warning(circle: Path, tmp_path: Path) -> None:
    """Random weights attend evenly: with two frames of latents and 16 places, mostly within a frame."""
    folder = save_wan(tmp_path / "wan")
    (folder / DESCRIPTION).write_text(json.dumps({"num_frames": 5, "fps": 8, "width": 64, "height": 64}))
    events: list[Event] = []
    asset = learn("circle", circle, recipe_for(folder), on_event=events.append)
    assert any("no attention head looks across frames" in event.text for event in events if isinstance(event, Warn))
    rows = load_file(asset.weights)["transformer.blocks.0.attn1.to_q.lora_B.weight"].abs().sum(1).view(3, -1).sum(1)
    assert (rows > 0).all()


def test_the_steps_of_sides_are_those_of_the_vae(tmp_path: Path) -> None:
    """That of Wan 2.2 5B makes 16 pixels a latent, and the transformer takes patches of two latents."""
    clips = [find_model(str(save_wan(tmp_path / kind, kind))).clip for kind in ("2.1", "5b")]
    assert [(clip.multiple, clip.frame_step) for clip in clips] == [(16, 4), (32, 4)]
    assert clips[1].size_like(1920, 1080) == (864, 480)
    (tmp_path / "5b" / DESCRIPTION).write_text('{"width": 848}')
    with pytest.raises(Incompatible, match="cannot make frames of 848x480: sides must be multiples of 32"):
        _ = find_model(str(tmp_path / "5b")).clip


def test_a_model_of_two_experts_is_another_architecture_than_its_first_expert(
    two_experts: Path, tmp_path: Path
) -> None:
    one = find_model(str(described(save_wan(tmp_path / "wan"), num_frames=21)))
    assert one.fingerprint != find_model(str(two_experts)).fingerprint
    assert (one.clip.num_frames, one.clip.width, one.clip.height) == (21, 32, 32)
