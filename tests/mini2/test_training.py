"""The whole training in small: real data, real models, a few steps."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPTokenizer

import cavtool
from cavtool.core.backbones import open_backbone
from cavtool.core.noise import seeded_noise
from cavtool.errors import Conflict
from cavtool.mini2.training import __main__ as recipe
from cavtool.mini2.training import autoencoder, rendering
from cavtool.mini2.training import words as word_stage
from cavtool.mini2.training.architecture import (
    Denoiser,
    load_parts,
    motion_modules,
    new_autoencoder,
    new_denoiser,
    new_tokenizer,
    to_model_range,
    to_tokens,
)
from cavtool.mini2.training.autoencoder import make_frames
from cavtool.mini2.training.courses import CourseReader, courses
from cavtool.mini2.training.data import SUBJECT_WEIGHT, Scenes, subject_weight
from cavtool.mini2.training.denoiser import SeenFrames, some_frames, without_time
from cavtool.mini2.training.optimizer import Muon
from cavtool.mini2.training.plans import CLIP_SEEDS, STILL_SEEDS, Plan
from cavtool.mini2.training.rendering import KINDS, chunk_path, draw, render_chunks, renderers
from cavtool.mini2.world.sampling import sample_scene
from cavtool.mini2.world.scenes import words

PLAN = Plan(
    num_frames=8,
    num_stills=8,
    num_clips=3,
    num_captions=3,
    autoencoder_steps=2,
    word_steps=2,
    still_steps=2,
    course_steps=2,
    sparse_steps=2,
    video_steps=4,
    frames_per_step=4,
    stills_per_step=2,
    captions_per_step=2,
    sparse_clips=2,
    sparse_frames=4,
    clips_per_step=1,
    stills_among_clips=1,
    video_lr=1e-3,
)


@pytest.fixture(scope="module", autouse=True)
def _one_pool() -> Iterator[None]:
    """One pool renders for all stages: each process of a pool imports torch first."""
    with pytest.MonkeyPatch.context() as patch, get_context("spawn").Pool(1) as pool:
        for module in (autoencoder, word_stage):
            patch.setattr(module, "render_pool", lambda _: nullcontext(pool))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training."""
    work = tmp_path_factory.mktemp("training")
    recipe.pretrain(work, PLAN, device="cpu", minutes=10)
    return work


@pytest.mark.slow
def test_diffusers_loads_the_pipeline_and_samples_as_our_backbone_does(trained: Path) -> None:
    from diffusers import AnimateDiffPipeline

    pipeline = AnimateDiffPipeline.from_pretrained(trained / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    noise = seeded_noise((1, 4, 16, 16, 16), 3, "cpu")
    theirs = pipeline(
        "a red cat", num_inference_steps=2, guidance_scale=1.0, latents=noise, output_type="latent"
    ).frames
    backbone = open_backbone(trained / "pipeline", device="cpu", dtype="fp32")
    assert backbone.latent_shape(16, 64, 64) == noise.shape
    scheduler = backbone.scheduler()
    scheduler.set_timesteps(2)
    ours = noise
    for t in scheduler.timesteps:
        with torch.no_grad():
            predicted = backbone.predict(ours, t[None], backbone.encode_text(["a red cat"]))
        ours = scheduler.step(predicted, t, ours).prev_sample
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert backbone.decode(ours).shape == (16, 64, 64, 3)


@pytest.mark.slow
def test_every_stage_is_logged_and_a_finished_training_does_nothing(trained: Path) -> None:
    log = (trained / "log.jsonl").read_text()
    stages = [json.loads(line)["stage"] for line in log.splitlines()]
    assert list(dict.fromkeys(stages)) == [
        "autoencoder",
        "words",
        "stills",
        "courses",
        "sparse",
        "videos",
    ]
    weights = (trained / "pipeline/unet/diffusion_pytorch_model.safetensors").read_bytes()
    assert recipe.pretrain(trained, PLAN, device="cpu", minutes=10)
    assert (trained / "log.jsonl").read_text() == log
    assert (trained / "pipeline/unet/diffusion_pytorch_model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_words_of_motion_change_what_sees_the_text_and_what_mixes_frames_and_nothing_else(trained: Path) -> None:
    before = torch.load(trained / "stills.pt", weights_only=True)["average"]
    after = torch.load(trained / "courses.pt", weights_only=True)["model"]
    changed = {name for name, value in before.items() if not torch.equal(value, after[f"unet.{name}"])}
    assert any("motion_modules" in name for name in changed)
    assert any("attn2" in name for name in changed)
    assert all("motion_modules" in name or "attn2" in name for name in changed)


@pytest.mark.slow
def test_a_training_that_ran_out_of_time_resumes_to_the_same_weights(trained: Path, tmp_path: Path) -> None:
    for name in ("autoencoder.pt", "words.pt", "frames.npz"):
        shutil.copy(trained / name, tmp_path)
    assert not recipe.pretrain(tmp_path, PLAN, device="cpu", minutes=0)
    assert torch.load(tmp_path / "stills.pt", weights_only=True)["step"] == 0
    assert recipe.pretrain(tmp_path, PLAN, device="cpu", minutes=10)
    weights = [folder / "pipeline/unet/diffusion_pytorch_model.safetensors" for folder in (trained, tmp_path)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_a_training_starts_from_the_parts_of_a_pipeline(trained: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert recipe.pretrain(first, PLAN, device="cpu", minutes=10, start=trained / "pipeline")
    stages = [json.loads(line)["stage"] for line in (first / "log.jsonl").read_text().splitlines()]
    assert stages == ["videos"]
    for part in ("vae/diffusion_pytorch_model", "text_encoder/model"):
        files = [folder / f"pipeline/{part}.safetensors" for folder in (trained, first)]
        assert files[0].read_bytes() == files[1].read_bytes()
    some = tmp_path / "some"
    shutil.copytree(trained / "pipeline/vae", some / "vae")
    assert not recipe.pretrain(tmp_path / "second", PLAN, device="cpu", minutes=0, start=some)
    assert (tmp_path / "second/autoencoder.pt").exists()
    assert torch.load(tmp_path / "second/words.pt", weights_only=True)["step"] == 0
    with pytest.raises(Conflict, match="no weights"):
        recipe.pretrain(tmp_path / "third", PLAN, device="cpu", minutes=0, start=tmp_path)
    shutil.copytree(trained / "pipeline/vae", some / "unet")
    with pytest.raises(Conflict, match="not of this architecture"):
        recipe.pretrain(tmp_path / "third", PLAN, device="cpu", minutes=0, start=some)


def test_the_parts_in_the_package_fit_the_recipe_and_the_world() -> None:
    folder = Path(cavtool.__file__).parent / "mini2/weights"
    tokenizer, vae = new_tokenizer(), new_autoencoder()
    assert load_parts(folder, vae, Denoiser(tokenizer)) >= {"vae", "text_encoder"}
    assert CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab() == tokenizer.get_vocab()
    pixels = to_model_range(np.concatenate([draw("stills", seed).frames for seed in range(8)]))
    with torch.inference_mode():
        again = vae.decode(vae.encode(pixels).latents).sample
    assert (again - pixels).abs().mean() < 0.04


@pytest.mark.slow
def test_data_of_another_plan_or_autoencoder_are_refused(trained: Path) -> None:
    vae, tokenizer = new_autoencoder(), new_tokenizer()
    vae.load_state_dict(torch.load(trained / "autoencoder.pt", weights_only=True)["average"])
    clips = Scenes(trained / "clips", PLAN.num_clips, vae, tokenizer, "cpu", lambda: False)
    assert clips.ready == PLAN.num_clips
    with pytest.raises(Conflict, match="another plan"):
        make_frames(trained, PLAN.num_frames - 1, "cpu")
    with torch.no_grad():
        for param in vae.encoder.parameters():
            param.mul_(2)
    with pytest.raises(Conflict, match="another autoencoder"):
        Scenes(trained / "clips", PLAN.num_clips, vae, tokenizer, "cpu", lambda: False)


def test_scenes_grow_while_they_are_rendered_and_each_is_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rendering.KINDS, "stills", replace(rendering.KINDS["stills"], chunk=2))
    folder, vae, tokenizer = tmp_path / "stills", new_autoencoder(), new_tokenizer()
    rendered = render_chunks(folder, 5, lambda _: True)
    next(rendered)
    scenes = Scenes(folder, 5, vae, tokenizer, "cpu", lambda: True)
    assert scenes.ready == 2, "no more is there"
    assert len(list(rendered)) == 2
    while scenes.ready < 5:
        scenes.look()
    assert not list(folder.glob("*.npz")), "frames make way for latents"
    last = draw("stills", STILL_SEEDS + 4)
    assert torch.equal(scenes.tokens[4].long(), to_tokens(tokenizer, [last.caption])[0])
    assert torch.equal(scenes.discs[4], torch.from_numpy(last.discs))
    assert not list(render_chunks(folder, 5, lambda _: True)), "what is there is not rendered again"
    again = Scenes(folder, 5, vae, tokenizer, "cpu", lambda: False)
    assert torch.equal(again.latents, scenes.latents)
    with pytest.raises(Conflict, match="another plan"):
        Scenes(folder, 4, vae, tokenizer, "cpu", lambda: False)


def test_a_rendering_that_ended_with_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="rendering ended"):
        Scenes(tmp_path / "stills", 5, new_autoencoder(), new_tokenizer(), "cpu", lambda: False)


def test_processes_that_render_share_the_work_and_their_failure_is_noticed(tmp_path: Path) -> None:
    num = KINDS["stills"].chunk + 2
    first = chunk_path(tmp_path / "stills", 0)
    first.parent.mkdir()
    first.with_suffix(".pt").touch()  # as if it had been taken in
    with renderers(tmp_path, {"clips": 3, "stills": num}, 2) as is_rendering:
        _wait_for(is_rendering)
    assert chunk_path(tmp_path / "clips", 0).with_suffix(".npz").exists(), "by the first process"
    drawn = dict(np.load(chunk_path(tmp_path / "stills", 1).with_suffix(".npz")))  # by the second
    assert drawn["frames"].shape == (2, 1, 64, 64, 3)
    assert drawn["captions"][1] == draw("stills", STILL_SEEDS + num - 1).caption
    taken = tmp_path / "taken"
    taken.touch()
    with renderers(taken, {"clips": 3}, 1) as is_rendering, pytest.raises(RuntimeError, match="failed"):
        _wait_for(is_rendering)


def _wait_for(is_rendering: Callable[[], bool]) -> None:
    while is_rendering():
        time.sleep(0.05)


def test_muon_is_torchs() -> None:
    torch.manual_seed(0)
    weights = [torch.randn(6, 4), torch.randn(6, 4), torch.randn(4, 12)]
    shapes = [(6, 4), (6, 2, 2, 1), (4, 3, 2, 2)]  # ours takes convolutions as they are
    ours = [nn.Parameter(weight.view(shape).clone()) for weight, shape in zip(weights, shapes, strict=True)]
    theirs = [nn.Parameter(weight.clone()) for weight in weights]
    optimizers = (
        Muon(ours, 0.1, weight_decay=0.01),
        torch.optim.Muon(theirs, 0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
    )
    for step in range(3):
        gradients = [torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)) for weight in weights]
        for params, optimizer in zip((ours, theirs), optimizers, strict=True):
            for param, gradient in zip(params, gradients, strict=True):
                param.grad = gradient.view(param.shape).clone()
            optimizer.step()
    moved = torch.cat([(a - b).flatten() for a, b in zip(theirs, weights, strict=True)])
    apart = torch.cat([(a.flatten(1) - b).flatten() for a, b in zip(ours, theirs, strict=True)])
    assert apart.norm() < 0.02 * moved.norm()  # torch's computes in bf16


def test_stills_and_clips_are_drawn_from_seeds_far_apart() -> None:
    assert abs(CLIP_SEEDS - STILL_SEEDS) > 1_000_000
    drawn = draw("clips", CLIP_SEEDS + 5)
    assert drawn.frames.shape == (16, 64, 64, 3)
    assert drawn.caption == sample_scene(CLIP_SEEDS + 5).caption
    assert drawn.discs.shape == (16, 3)
    assert drawn.moves.shape == (16, 11)
    assert np.abs(drawn.moves.mean(0)).max() < 1e-5


def test_the_loss_weighs_the_subject_more() -> None:
    weight = subject_weight(torch.tensor([[[0.25, 0.75, 0.1]]]), 8)
    assert weight.shape == (1, 1, 8, 8)
    assert weight[0, 0, 6, 1] == SUBJECT_WEIGHT
    assert weight[0, 0, 1, 6] == 1


def test_heads_read_a_course_at_its_frame_and_its_waves_at_every_frame() -> None:
    one_period = torch.cos(2 * torch.pi * (torch.arange(16) + 0.5) / 16)
    target = courses(torch.stack([one_period, torch.zeros(16)], dim=-1)[None])
    assert target.shape == (1, 16, 2 * 5 + 4)
    torch.testing.assert_close(target[0, :, 0], one_period)
    in_all = target[0, :, 2:10].view(16, 4, 2)
    assert torch.equal(in_all, in_all[:1].expand_as(in_all))
    torch.testing.assert_close(in_all[0, :, 0], torch.tensor([0, 0.5**0.5, 0, 0]), atol=1e-6, rtol=0)
    assert in_all[0, :, 1].abs().max() == 0


def test_heads_read_the_course_from_every_motion_module() -> None:
    torch.manual_seed(0)
    unet = new_denoiser()
    reader = CourseReader(unet)
    unet(torch.randn(1, 4, 16, 4, 4), 999, torch.randn(16, 32, 128))
    reader.loss(torch.randn(1, 16, 11)).backward()  # type: ignore[no-untyped-call]
    modules = motion_modules(unet)
    assert len(reader.heads) == len(modules)
    # The loss is of heads alone, so the last module learns only if a head reads from it.
    assert all(module.proj_out.weight.grad.abs().max() > 0 for module in modules)


def test_heads_count_by_the_places_of_their_level() -> None:
    unet = new_denoiser()
    reader = CourseReader(unet)
    for param in reader.heads.parameters():
        nn.init.zeros_(param)
    moves = torch.randn(1, 16, 11)
    with torch.inference_mode():
        unet(torch.randn(1, 4, 16, 4, 4), 999, torch.randn(16, 32, 128))
        loss = reader.loss(moves)
    of_one = functional.smooth_l1_loss(torch.zeros(1, 16, 59), courses(moves))
    places = [1, 4, 4, 4, 1, 1, 1, 16, 16, 16]  # four heads at the coarsest level, three at each of the others
    torch.testing.assert_close(loss, of_one * sum(places) / len(places))


def test_every_word_of_the_world_is_one_token() -> None:
    tokenizer = new_tokenizer()
    for word in words():
        assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1, word
    tokens = to_tokens(tokenizer, ["a red cat", ""])
    assert tokens.shape == (2, 32)
    assert len(tokenizer("a zqzq cat", add_special_tokens=False).input_ids) > 3


def test_untrained_motion_modules_change_nothing() -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(new_tokenizer())
    latents, text = torch.randn(1, 4, 3, 16, 16), torch.randn(3, 5, 128)
    with torch.no_grad():
        through = denoiser.unet(latents, torch.tensor([500]), text).sample
        with without_time(denoiser):
            bypassed = denoiser.unet(latents, torch.tensor([500]), text).sample
    assert torch.equal(through, bypassed)


def test_a_unet_is_told_which_frames_it_sees() -> None:
    torch.manual_seed(0)
    unet = new_denoiser()
    for module in motion_modules(unet):
        nn.init.normal_(module.proj_out.weight, std=0.1)
    seen, latents, text = SeenFrames(unet), torch.randn(2, 4, 3, 16, 16), torch.randn(6, 5, 128)
    timesteps = torch.tensor([500, 300])

    def predicted(*frames: int) -> torch.Tensor:
        with seen.are(torch.tensor(frames), timesteps[:, None].expand(-1, 3)):
            sample: torch.Tensor = unet(latents, timesteps, text).sample
        return sample

    with torch.no_grad():
        first = unet(latents, timesteps, text).sample
        torch.testing.assert_close(predicted(0, 1, 2), first)
        assert (predicted(0, 5, 12) - first).abs().max() > 1e-3
        assert torch.equal(unet(latents, timesteps, text).sample, first), "not for ever"


def test_some_frames_of_a_clip_are_in_order() -> None:
    draw = {"generator": torch.Generator().manual_seed(0), "device": "cpu"}
    seen = torch.stack([some_frames(16, 6, draw) for _ in range(200)])
    assert (seen.diff(dim=1) > 0).all()
    assert set(seen.flatten().tolist()) == set(range(16))
    assert torch.equal(some_frames(16, 16, draw), torch.arange(16))
    assert torch.equal(some_frames(1, 1, draw), torch.zeros(1, dtype=torch.long))


def test_the_shipped_size_fits_the_package() -> None:
    assert sum(param.numel() for param in new_denoiser().parameters()) * 2 < 13e6
