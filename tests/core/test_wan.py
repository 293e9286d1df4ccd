"""The Wan family, on small random models that diffusers makes."""

import json
import shutil
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)

from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.wan import Experts, WanBackbone
from cavtool.core.inversion import invert
from cavtool.core.noise import seeded_noise
from cavtool.core.sampling import sample
from cavtool.errors import Incompatible, IntegrityFailure
from cavtool.models import CATALOGUE

PROMPT, NEGATIVE, GUIDANCE = "a red cat in the forest", "blue &amp;  car", 5.0
KINDS = ("2.1", "a14b", "5b")


def opened(folder: Path) -> WanBackbone:
    backbone = open_backbone(folder, device="cpu", dtype="fp32")
    assert isinstance(backbone, WanBackbone)
    return backbone


def clip_noise(backbone: WanBackbone, num_frames: int = 21, side: int = 32) -> torch.Tensor:
    return seeded_noise(backbone.latent_shape(num_frames, side, side), 3, "cpu")


def ours(backbone: WanBackbone, noise: torch.Tensor, steps: int) -> torch.Tensor:
    scheduler = backbone.scheduler()
    scheduler.set_timesteps(steps)
    texts = {"positive": backbone.encode_text([PROMPT]), "negative": backbone.encode_text([NEGATIVE])}
    predict = partial(backbone.predict_guided, **texts, guidance_scale=GUIDANCE)
    return sample(predict, scheduler, noise * scheduler.init_noise_sigma)


def theirs(pipeline: Any, noise: torch.Tensor, steps: int, output_type: str = "latent") -> Any:
    """The result of diffusers' own pipeline from the same noise, for frames of 32 x 32 pixels."""
    pipeline.set_progress_bar_config(disable=True)
    size = 32 if pipeline.vae.config.scale_factor_spatial == 8 else 64
    options = {"num_frames": 21, "height": size, "width": size, "num_inference_steps": steps, "latents": noise}
    return pipeline(
        PROMPT, negative_prompt=NEGATIVE, guidance_scale=GUIDANCE, output_type=output_type, **options
    ).frames


def loaded(folder: Path) -> Any:
    return DiffusionPipeline.from_pretrained(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_and_decoding_equal_the_pipeline_of_diffusers(folder_of: Any, kind: str) -> None:
    backbone, pipeline = opened(folder_of(kind)), loaded(folder_of(kind))
    noise = clip_noise(backbone, side=64 if kind == "5b" else 32)
    made = ours(backbone, noise, 6)
    torch.testing.assert_close(made, theirs(pipeline, noise, 6), atol=1e-4, rtol=0)
    frames = theirs(pipeline, noise, 6, "np")[0]
    assert np.abs(backbone.decode(made) / 255.0 - frames).max() < 1 / 255


def test_a_model_that_trained_in_bf16_can_sample_in_fp32(folder_of: Any) -> None:
    backbone, exact = open_backbone(folder_of("2.1"), device="cpu", dtype="bf16"), opened(folder_of("2.1"))
    assert isinstance(backbone, WanBackbone)
    noise, t, text = clip_noise(exact), torch.tensor([400.0]), exact.encode_text([PROMPT])
    with torch.no_grad():
        expected, rounded = exact.predict(noise, t, text), backbone.predict(noise, t, text)
        backbone.dtype = torch.float32
        assert torch.equal(backbone.predict(noise, t, backbone.encode_text([PROMPT])), expected)
    assert 0 < (rounded - expected).abs().max() < 0.1


def test_the_two_experts_of_wan_2_2_share_the_timesteps(folder_of: Any) -> None:
    backbone = opened(folder_of("a14b"))
    noise, text = clip_noise(backbone).repeat(3, 1, 1, 1, 1), backbone.encode_text([PROMPT])
    with torch.no_grad():
        together = backbone.predict(noise, torch.tensor([875.0, 874.0, 100.0]), text)
        alone = [
            expert(noise[:1], torch.tensor([t]), text, return_dict=False)[0]
            for expert, t in zip(("transformer", "transformer_2", "transformer_2"), (875.0, 874.0, 100.0), strict=True)
            for expert in [getattr(backbone.denoiser, expert)]
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_the_euler_scheduler_samples_as_in_the_pipeline(folder_of: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of("2.1"), tmp_path / "euler", ignore=shutil.ignore_patterns("scheduler")))
    pipeline = loaded(folder_of("2.1"))
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    backbone = opened(folder)
    noise = clip_noise(backbone)
    torch.testing.assert_close(ours(backbone, noise, 4), theirs(pipeline, noise, 4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [UniPCMultistepScheduler, FlowMatchEulerDiscreteScheduler])
def test_another_shift_replaces_that_of_the_scheduler(folder_of: Any, tmp_path: Path, kind: Any) -> None:
    folder = Path(shutil.copytree(folder_of("2.1"), tmp_path / "shifted", ignore=shutil.ignore_patterns("scheduler")))
    unipc = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    kind(**(unipc if kind is UniPCMultistepScheduler else {})).save_pretrained(folder / "scheduler")
    first = [
        open_backbone(folder, device="cpu", dtype="fp32", flow_shift=shift).first_timestep(0.5) for shift in (None, 9.0)
    ]
    assert first == [500, 900]


def test_the_first_of_two_equal_timesteps_is_where_sampling_starts(folder_of: Any) -> None:
    """With 500 steps and a shift of 12 the whole timestep 999 occurs several times."""
    scheduler = opened(folder_of("2.1")).scheduler()
    scheduler.register_to_config(flow_shift=12.0)
    scheduler.set_timesteps(500)
    assert scheduler.timesteps[0] == scheduler.timesteps[1]
    sample(lambda latents, _: latents, scheduler, torch.zeros(1, 4, 2, 4, 4), stop=1)
    assert scheduler.step_index == 1


@pytest.mark.parametrize(("kind", "name"), [("2.1", "wan-1.3b"), ("a14b", "wan2.2-14b"), ("5b", "wan2.2-5b")])
def test_inversion_returns_to_the_latents_at_the_model_s_own_steps(folder_of: Any, kind: str, name: str) -> None:
    native = CATALOGUE[name].usual
    backbone = open_backbone(folder_of(kind), device="cpu", dtype="fp32", flow_shift=native.flow_shift)
    latents = seeded_noise(backbone.latent_shape(9, *[64 if kind == "5b" else 32] * 2), 1, "cpu")
    predict = partial(backbone.predict, conditioning=backbone.encode_text([PROMPT]))
    schedulers = [backbone.scheduler(invertible=True) for _ in range(2)]
    for scheduler in schedulers:
        scheduler.set_timesteps(native.steps)
    noise = invert(predict, schedulers[0], latents)
    assert (noise - latents).std() > 0.3
    error = sample(predict, schedulers[1], noise) - latents
    assert 10 * torch.log10(latents.square().mean() / error.square().mean()) > 30, "less than 30 dB"


def test_both_schedulers_can_be_inverted_and_agree(folder_of: Any, tmp_path: Path) -> None:
    """UniPC with the settings of an invertible scheduler takes the steps of Euler at its own noise levels."""
    backbone = opened(folder_of("2.1"))
    scheduler = backbone.scheduler(invertible=True)
    scheduler.set_timesteps(7)
    noise = clip_noise(backbone)
    made = sample(lambda latents, _: latents.tanh(), scheduler, noise)
    expected, levels = noise, [*scheduler.sigmas.tolist()]
    for level, less in pairwise(levels):
        expected = expected + (less - level) * expected.tanh()
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)
    folder = Path(shutil.copytree(folder_of("2.1"), tmp_path / "euler", ignore=shutil.ignore_patterns("scheduler")))
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    euler = [opened(folder).scheduler(invertible=True) for _ in range(2)]
    for each in euler:
        each.set_timesteps(5)
    inverted = invert(lambda latents, _: latents.tanh(), euler[0], noise, start=1, max_iterations=50)
    back = sample(lambda latents, _: latents.tanh(), euler[1], inverted, start=1)
    assert (back - noise).abs().mean() < 0.01


@pytest.mark.parametrize("name", ["wan-1.3b", "wan-14b", "wan2.2-14b", "wan2.2-5b"])
def test_a_motion_is_learned_where_noise_is_as_strong_as_for_the_unets(folder_of: Any, name: str) -> None:
    """At the timestep 500 of ModelScope the noise has 1.62 times the amplitude of the video: 0.62 to 0.38."""
    native = CATALOGUE[name].usual
    backbone = open_backbone(folder_of("2.1"), device="cpu", dtype="fp32", flow_shift=native.flow_shift)
    assert backbone.first_timestep(native.noise_from) == pytest.approx(620, abs=10)
    assert backbone.expert_boundary == 0


def test_both_experts_learn_a_motion_and_the_high_noise_one_more(folder_of: Any) -> None:
    native = CATALOGUE["wan2.2-14b"].usual
    backbone = open_backbone(folder_of("a14b"), device="cpu", dtype="fp32", flow_shift=native.flow_shift)
    drawn = backbone.draw_timesteps(torch.Generator().manual_seed(0), 4000, native.noise_from)
    assert (drawn >= 875).float().mean() == pytest.approx(0.72, abs=0.03)
    assert backbone.expert_boundary == pytest.approx(0.368, abs=0.001)
    assert backbone.first_timestep(backbone.expert_boundary) == 875


def test_noise_and_target_are_those_of_flow_matching(folder_of: Any) -> None:
    backbone = opened(folder_of("2.1"))
    latents, noise = torch.full((1, 4, 1, 2, 2), 3.0), torch.full((1, 4, 1, 2, 2), -1.0)
    assert torch.equal(backbone.add_noise(latents, noise, torch.tensor([250.0])), torch.full_like(latents, 2.0))
    assert torch.equal(backbone.target(latents, noise, torch.tensor([250.0])), torch.full_like(latents, -4.0))


def test_timesteps_are_drawn_as_they_are_spaced_in_sampling(folder_of: Any) -> None:
    """With a shift of 3 the share 0.7 of the schedule is the noise level 2.1 / 2.4."""
    backbone = opened(folder_of("2.1"))
    assert [backbone.first_timestep(share) for share in (0.0, 0.5, 0.7)] == [0, 750, 875]
    scheduler = backbone.scheduler()
    scheduler.set_timesteps(10)
    assert int((scheduler.timesteps >= backbone.first_timestep(0.7)).sum()) == 4  # at 1, 0.9, 0.8 and 0.7
    drawn = backbone.draw_timesteps(torch.Generator().manual_seed(0), 4000, 0.5)
    assert 750 <= drawn.min() < 752
    assert 998 < drawn.max() <= 1000
    assert drawn.median() == pytest.approx(900, abs=4)
    assert torch.equal(drawn, backbone.draw_timesteps(torch.Generator().manual_seed(0), 4000, 0.5))


@pytest.mark.parametrize(
    ("clip", "hint"),
    [
        ((16, 32, 32), "use 17 frames"),
        ((2, 32, 32), "use 1 frames"),
        ((17, 33, 60), "use 64x32"),
        ((17, 4, 32), "use 32x16"),
    ],
)
def test_clips_that_do_not_fit_are_refused_with_the_nearest_that_does(
    folder_of: Any, clip: tuple[int, int, int], hint: str
) -> None:
    backbone = opened(folder_of("2.1"))
    for refused in (backbone.latent_shape, lambda *shape: backbone.encode_clip(np.zeros((*shape, 3), np.uint8))):
        with pytest.raises(Incompatible, match="the model cannot process") as caught:
            refused(*clip)
        assert caught.value.hint == hint


@pytest.mark.parametrize("kind", ["2.1", "5b"])
def test_a_clip_goes_to_latents_and_back_at_its_size(folder_of: Any, kind: str) -> None:
    backbone = opened(folder_of(kind))
    frames = np.random.default_rng(0).integers(0, 256, (9, 32, 64, 3), np.uint8)
    latents = backbone.encode_clip(frames)
    assert latents.shape == backbone.latent_shape(9, 32, 64)
    assert backbone.decode(latents).shape == frames.shape
    stills = backbone.encode_stills(frames)
    assert stills.shape == (9, *backbone.latent_shape(1, 32, 64)[1:])
    torch.testing.assert_close(stills[:1], latents[:, :, :1], atol=1e-5, rtol=0)  # the first latent is one frame


# Text


def test_a_learned_token_replaces_the_star_or_is_appended(folder_of: Any) -> None:
    backbone = opened(folder_of("2.1"))
    token, plain = backbone.token_like("cat", 1), backbone.encode_text(["a red cat"])
    for prompt in ("a red *", "a red"):
        torch.testing.assert_close(backbone.encode_text([prompt], token), plain, atol=1e-5, rtol=0)
    trained = torch.nn.Parameter(backbone.token_like("cat", 2))
    changed = backbone.encode_text(["* in the forest"], 5 * trained)
    changed.square().sum().backward()  # type: ignore[no-untyped-call]
    assert trained.grad is not None
    assert (trained.grad.abs().sum(1) > 0).all()
    assert torch.equal(backbone.encode_text(["a red cat"]), plain)
    long = "a red cat " * 300
    assert not torch.allclose(backbone.encode_text([long], token), backbone.encode_text([long], 5 * token), atol=1e-3)


def test_the_truncated_end_of_a_long_prompt_is_returned(folder_of: Any) -> None:
    backbone = opened(folder_of("2.1"))
    assert backbone.truncated("a red cat") == ""
    assert backbone.truncated("red " * 511 + "red cat") == "red cat"


# Without time


def test_without_time_every_frame_is_a_clip_of_its_own(folder_of: Any) -> None:
    """A frame alone gives exactly what the transformer computes for a single picture."""
    backbone = opened(folder_of("2.1"))
    latents, t, text = clip_noise(backbone), torch.tensor([400.0]), backbone.encode_text([PROMPT])
    with torch.no_grad():
        with backbone.without_time():
            frames = backbone.predict(latents, t, text)
            picture = backbone.predict(latents[:, :, 2:3], t, text)
        for i in range(latents.shape[2]):
            single = backbone.denoiser.transformer(latents[:, :, i : i + 1], t, text, return_dict=False)[0]
            torch.testing.assert_close(frames[:, :, i : i + 1], single, atol=1e-5, rtol=0)
        assert torch.equal(picture, backbone.predict(latents[:, :, 2:3], t, text))
        assert (backbone.predict(latents, t, text) - frames).abs().max() > 1e-3


@pytest.mark.parametrize(("heads", "layers", "ffn"), [(12, 30, 8960), (40, 40, 13824), (24, 30, 14336)])
def test_the_targets_in_the_models_of_full_size(heads: int, layers: int, ffn: int) -> None:
    """Wan 2.1 1.3B, Wan 2.1 14B (also each expert of Wan 2.2) and Wan 2.2 5B."""
    with torch.device("meta"):
        transformer = WanTransformer3DModel(num_attention_heads=heads, num_layers=layers, ffn_dim=ffn)
    backbone = WanBackbone.__new__(WanBackbone)
    backbone.denoiser = Experts(transformer)
    blocks = [f"transformer.blocks.{i}" for i in range(layers)]
    assert backbone.temporal_targets() == [f"{block}.attn1.to_{name}" for block in blocks for name in "qk"]
    names = [f"attn1.to_{name}" for name in "qkv"] + [f"attn2.to_{name}" for name in ("q", "k", "v", "out.0")]
    assert backbone.spatial_targets() == [f"{block}.{name}" for block in blocks for name in names]
    shapes = {tuple(backbone.denoiser.get_submodule(name).weight.shape) for name in backbone.temporal_targets()}
    assert shapes == {(128 * heads, 128 * heads)}


# Folders


def test_opening_a_folder_prints_nothing(folder_of: Any, capfd: pytest.CaptureFixture[str]) -> None:
    folder = folder_of("a14b")
    capfd.readouterr()
    opened(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kind", "file", "changes", "message"),
    [
        ("2.1", "transformer/config.json", {"image_dim": 8}, "its transformer needs a picture"),
        ("a14b", "model_index.json", {"boundary_ratio": None}, "which timesteps its two transformers are for"),
        ("2.1", "scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler"}, "it is a DDIMScheduler"),
        ("2.1", "scheduler/scheduler_config.json", {"use_flow_sigmas": False}, "it is not for flow matching"),
        ("2.1", "vae/config.json", {"_class_name": "AutoencoderKL"}, "it is a AutoencoderKL"),
    ],
)
def test_models_of_another_kind_are_refused(
    folder_of: Any, tmp_path: Path, kind: str, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = Path(shutil.copytree(folder_of(kind), tmp_path / "other"))
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | changes))
    with pytest.raises(Incompatible, match=message) as caught:
        opened(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    "file",
    [
        "transformer_2/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "text_encoder/config.json",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
        "model_index.json",
    ],
)
def test_the_error_for_a_damaged_part_names_it(folder_of: Any, tmp_path: Path, file: str) -> None:
    folder = Path(shutil.copytree(folder_of("a14b"), tmp_path / "broken"))
    (folder / file).write_bytes((folder / file).read_bytes()[:20])
    with pytest.raises(IntegrityFailure, match=Path(file).parts[0]):
        opened(folder)
