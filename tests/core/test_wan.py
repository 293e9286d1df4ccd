"""The Wan family, on small random models that diffusers makes."""

import json
import shutil
from functools import cache, partial
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

from cavtool.core.adapters import lora
from cavtool.core.adapters.existing import fit_absorber
from cavtool.core.adapters.heads import attention_shares, is_temporal, other_heads, restrict
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.wan import Experts, WanBackbone, _recorded
from cavtool.core.formats import export, read_absorber, wan
from cavtool.core.inversion import invert
from cavtool.core.losses import denoising_loss
from cavtool.core.noise import seeded_noise, step_generator
from cavtool.core.sampling import sample
from cavtool.core.trainer import Trainer
from cavtool.errors import Incompatible, IntegrityFailure
from cavtool.models import CATALOGUE
from cavtool.recipes import Layout
from tests.core.test_lora import random_state
from tests.small_models import save_wan

PROMPT, NEGATIVE, GUIDANCE = "a red cat in the forest", "blue &amp;  car", 5.0
KINDS = ("2.1", "a14b", "5b")


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The pipeline folder of a small model of each kind, made when first asked for."""
    root = tmp_path_factory.mktemp("wan")
    return cache(lambda kind: save_wan(root / kind, kind))


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


# Heads


def test_heads_are_told_apart_by_their_attention() -> None:
    """Constructed attention: one head looks at its own frame, one at its own place, one everywhere."""
    num_frames, num_places = 5, 6
    frame, place = torch.arange(30) // num_places, torch.arange(30) % num_places
    width = 8
    looks_at = torch.stack([torch.eye(width)[frame], torch.eye(width)[place], torch.zeros(30, width)]) * 20
    for queries in (torch.arange(30), torch.tensor([3, 17, 29])):
        own_frame, own_place = attention_shares(looks_at, looks_at, num_frames, queries)
        torch.testing.assert_close(own_frame, torch.tensor([1.0, 1 / 6 * 6 / 5, 1 / 5]), atol=1e-3, rtol=0)
        torch.testing.assert_close(own_place, torch.tensor([1 / 6, 1.0, 1 / 6]), atol=1e-3, rtol=0)
        assert is_temporal(own_frame, own_place).tolist() == [False, True, False]
    assert is_temporal(torch.tensor([1.0, 1.0]), torch.tensor([1.3, 1.29])).tolist() == [True, False]


def test_the_recorded_attention_is_that_of_the_model(folder_of: Any) -> None:
    backbone = opened(folder_of("2.1"))
    latents, t, text = clip_noise(backbone), torch.tensor([400.0]), backbone.encode_text([PROMPT])
    block = backbone.denoiser.transformer.blocks[0]
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        block.attn1.to_v.register_forward_hook(lambda _, __, out: seen.__setitem__("v", out)),
        block.attn1.to_out[0].register_forward_hook(lambda _, given, __: seen.__setitem__("mixed", given[0])),
    ]
    recorded: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    with torch.no_grad():
        plain = backbone.predict(latents, t, text)
        with _recorded(backbone.denoiser.transformer, lambda i, q, k: recorded.__setitem__(i, (q, k))):
            watched = backbone.predict(latents, t, text)
        again = backbone.predict(latents, t, text)
    for hook in hooks:
        hook.remove()
    assert torch.equal(plain, watched)
    assert torch.equal(plain, again)
    assert sorted(recorded) == [0, 1]
    query, key = (each.transpose(1, 2) for each in recorded[0])
    attention = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
    value = seen["v"].view(*seen["v"].shape[:2], 3, -1).transpose(1, 2)
    torch.testing.assert_close((attention @ value).transpose(1, 2).flatten(2), seen["mixed"], atol=1e-5, rtol=0)


def test_every_head_of_every_expert_is_classified(folder_of: Any) -> None:
    backbone = opened(folder_of("a14b"))
    heads = backbone.classify_heads(clip_noise(backbone), PROMPT)
    assert list(heads) == [f"{part}.blocks.{i}.attn1" for part in ("transformer", "transformer_2") for i in (0, 1)]
    assert all(mask.shape == (3,) and mask.dtype == torch.bool for mask in heads.values())
    again = backbone.classify_heads(clip_noise(backbone), PROMPT)
    assert all(torch.equal(heads[layer], again[layer]) for layer in heads)
    one_frame = backbone.classify_heads(clip_noise(backbone, num_frames=1), PROMPT)
    assert not any(mask.any() for mask in one_frame.values())


def mask_of(layer_heads: str) -> torch.Tensor:
    return torch.tensor([each == "1" for each in layer_heads])


def trained_motion(backbone: WanBackbone, heads: dict[str, torch.Tensor], *, steps: int = 3) -> lora.LoraState:
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 4, seed=1)
    restrict(params, heads)
    latents, text = clip_noise(backbone), backbone.encode_text([PROMPT])
    list(
        Trainer(
            params, lambda step: denoising_loss(backbone, latents, text, step_generator(0, step)), steps, 1e-2
        ).run()
    )
    state = lora.extract(params)
    lora.remove_all(backbone.denoiser)
    return state


HEADS = {"transformer.blocks.0.attn1": mask_of("010"), "transformer.blocks.1.attn1": mask_of("110")}


def test_training_changes_the_rows_of_the_chosen_heads_only(folder_of: Any) -> None:
    backbone = opened(folder_of("2.1"))
    state = trained_motion(backbone, HEADS)
    assert set(lora.targets(state)) == set(backbone.temporal_targets())
    for layer, mask in HEADS.items():
        for projection in "qk":
            rows = state[f"{layer}.to_{projection}.lora_B.weight"].abs().sum(1).view(3, -1)
            assert (rows[mask] > 0).all()
            assert (rows[~mask] == 0).all()


def test_before_the_norm_the_other_heads_are_unchanged(folder_of: Any) -> None:
    backbone = opened(folder_of("2.1"))
    state, inputs = trained_motion(backbone, HEADS), torch.randn(5, 36, generator=torch.Generator().manual_seed(0))
    for layer, mask in HEADS.items():
        for projection in "qk":
            module = backbone.denoiser.get_submodule(f"{layer}.to_{projection}")
            before = module(inputs)
            with merged(backbone.denoiser, [(state, 1.0)]):
                change = (module(inputs) - before).abs().view(5, 3, -1).amax((0, 2))
            assert (change[~mask] <= 1e-6).all()
            assert (change[mask] > 1e-3).all()


def test_for_the_output_the_columns_of_the_chosen_heads_are_trained(folder_of: Any) -> None:
    backbone = opened(folder_of("2.1"))
    backbone.motion_layers = (".attn1.to_v", ".attn1.to_out.0")
    state = trained_motion(backbone, HEADS)
    for layer, mask in HEADS.items():
        columns = state[f"{layer}.to_out.0.lora_A.weight"].abs().sum(0).view(3, -1)
        rows = state[f"{layer}.to_v.lora_B.weight"].abs().sum(1).view(3, -1)
        for each in (columns, rows):
            assert (each[mask] > 0).all()
            assert (each[~mask] == 0).all()


def test_the_motion_and_the_absorber_share_no_head(folder_of: Any) -> None:
    backbone = opened(folder_of("2.1"))
    params = lora.inject(backbone.denoiser, "cav_absorber", backbone.spatial_targets(), 4, seed=1)
    restrict(params, other_heads(HEADS))
    stills = clip_noise(backbone, num_frames=1).repeat(4, 1, 1, 1, 1)
    text = backbone.encode_text(["a lantern"])

    def loss_at(step: int) -> torch.Tensor:
        with backbone.without_time():
            return denoising_loss(backbone, stills, text, step_generator(0, step))

    list(Trainer(params, loss_at, 3, 1e-2).run())
    for layer, mask in HEADS.items():
        rows = params[f"{layer}.to_q.lora_B.weight"].abs().sum(1).view(3, -1)
        assert (rows[~mask] > 0).all()
        assert (rows[mask] == 0).all()
        to_text = params[f"{layer.replace('attn1', 'attn2')}.to_q.lora_B.weight"]
        assert (to_text.abs().sum(1) > 0).all()


def test_a_training_of_two_experts_is_resumed_with_the_same_weights(folder_of: Any) -> None:
    """In a step with one timestep, one of the experts has no gradient."""
    backbone = opened(folder_of("a14b"))
    latents, text = clip_noise(backbone), backbone.encode_text([PROMPT])

    def trainer() -> Trainer:
        lora.remove_all(backbone.denoiser)
        params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 2, seed=1)
        return Trainer(params, lambda step: denoising_loss(backbone, latents, text, step_generator(3, step)), 7, 1e-2)

    whole = trainer()
    list(whole.run())
    expected = lora.extract(whole.params)
    first = trainer()
    for _ in zip(range(4), first.run(), strict=False):
        pass
    state = {key: value.clone() for key, value in first.state().items()}
    second = trainer()
    second.load(state)
    list(second.run())
    made = lora.extract(second.params)
    assert any(key.startswith("num_updates.") for key in state)
    assert all(torch.equal(made[key], expected[key]) for key in expected)
    assert all(expected[key].abs().sum() > 0 for key in expected)  # both experts were trained


# Names and files


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


OURS = ("attn1.to_q", "attn1.to_out.0", "attn2.to_k", "attn2.add_v_proj", "ffn.net.0.proj", "ffn.net.2")
THEIRS = ("self_attn.q", "self_attn.o", "cross_attn.k", "cross_attn.v_img", "ffn.0", "ffn.2")


@pytest.mark.parametrize(
    "written",
    [
        "diffusion_model.blocks.7.{}",  # ComfyUI, ai-toolkit, Kijai
        "diffusion_model.transformer_1.blocks.7.{}",  # ai-toolkit, both experts in one file
        "blocks.7.{}",  # DiffSynth
        "pipe.dit.blocks.7.{}",
        "_blocks_7_{}",  # VideoX-Fun, after `lora_unet_`
        "blocks_7.{}",  # seen in the wild, after `lora_unet_`
    ],
)
def test_the_names_that_other_tools_give_to_layers_are_known(written: str) -> None:
    names = [written.format(name.replace(".", "_") if "_7_" in written else name) for name in THEIRS]
    assert [wan.layer_of(name) for name in names] == [f"transformer.blocks.7.{name}" for name in OURS]


def test_names_are_ours_or_left_alone() -> None:
    for layer in ("transformer_2.blocks.0.attn1.to_q", "transformer.condition_embedder.time_proj"):
        assert wan.layer_of(layer) == layer
    assert wan.layer_of("diffusion_model.head.head") == "transformer.proj_out"
    assert wan.layer_of("diffusion_model.blocks.3.self_attn.q", wan.LOW_NOISE) == "transformer_2.blocks.3.attn1.to_q"
    assert wan.layer_of("diffusion_model.transformer_2.blocks.0.ffn.2") == "transformer_2.blocks.0.ffn.net.2"
    for other in ("down_blocks.0.attentions.0.proj_in", "transformer_in.proj_in", "blocks.0.self_attn.gate"):
        assert wan.layer_of(other) == other
    assert wan.expert_of(Path("twirl_low_noise.safetensors")) == wan.LOW_NOISE
    assert wan.expert_of(Path("WAN-LowNoise-v2.safetensors")) == wan.LOW_NOISE
    assert wan.expert_of(Path("twirl.safetensors")) == wan.expert_of(Path("a_high_noise.pt")) == wan.HIGH_NOISE


@pytest.mark.parametrize("layout", [Layout.DIFFUSERS, Layout.COMFY, Layout.KOHYA])
def test_both_experts_in_every_layout_are_read_back(folder_of: Any, layout: Layout, tmp_path: Path) -> None:
    backbone = opened(folder_of("a14b"))
    state = random_state(backbone, backbone.spatial_targets(), 1)
    files = export.write(state, layout, "style")
    loras: lora.LoraState = {}
    assert list(files) == ["high_noise", "low_noise"]
    for suffix, file in files.items():
        lora.save(file.tensors, tmp_path / f"style_{suffix}.safetensors", file.metadata)
        found = read_absorber(tmp_path / f"style_{suffix}.safetensors")
        fitted, unused = fit_absorber(backbone, found, 1.0, name="style", model="wan")
        assert not unused
        loras |= fitted
    assert loras.keys() == state.keys()
    assert all(torch.equal(loras[key], state[key]) for key in state)


def test_alphas_are_read_from_the_layers_or_from_the_header(folder_of: Any, tmp_path: Path) -> None:
    """Kijai's files and those of musubi-tuner have one for each layer, those of diffusers one in the header."""
    layer, A, B = "transformer.blocks.0.attn1.to_q", torch.ones(2, 36), torch.ones(36, 2)
    matrices = {"lora_down.weight": A, "lora_up.weight": B, "alpha": torch.tensor(1.0)}
    header = json.dumps({"transformer.lora_alpha": 1, "transformer.r": 2})
    files: dict[str, tuple[dict[str, torch.Tensor], dict[str, str]]] = {
        "kijai": ({f"diffusion_model.blocks.0.self_attn.q.{key}": each for key, each in matrices.items()}, {}),
        "musubi": ({f"lora_unet_blocks_0_self_attn_q.{key}": each for key, each in matrices.items()}, {}),
        "diffusers": (lora.state_of({layer: (A, B)}), {"lora_adapter_metadata": header}),
    }
    for name, (tensors, metadata) in files.items():
        lora.save(tensors, tmp_path / f"{name}.safetensors", {"format": "pt", **metadata})
        ((found, (_, scaled)),) = read_absorber(tmp_path / f"{name}.safetensors").loras.items()
        assert (found, float(scaled[0, 0])) == (layer, 0.5), name


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
