from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cavtool.core.adapters import lora
from cavtool.core.adapters.absorber import (
    CROP_RATIO,
    STYLE_RATIO,
    TOKEN,
    absorber_loss,
    crop_bank,
    load_absorber,
    motion_loss,
    new_absorber,
)
from cavtool.core.adapters.lora import extract
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.core.losses import denoising_loss
from cavtool.core.noise import step_generator
from cavtool.core.trainer import Trainer
from cavtool.errors import TrainingError
from cavtool.mini import world

PARTS = ("denoiser", "text_encoder", "vae")


def quadratic(params: dict[str, nn.Parameter], num_steps: int = 40) -> Trainer:
    def loss_at(step: int) -> Tensor:
        noise = torch.randn(4, generator=step_generator(3, step))
        return (params["a"] - noise).square().sum()

    return Trainer(params, loss_at, num_steps, lr=0.05)


def test_a_resumed_training_ends_with_the_same_weights() -> None:
    whole = {"a": nn.Parameter(torch.ones(4))}
    losses = list(quadratic(whole).run())
    cut = {"a": nn.Parameter(torch.ones(4))}
    first = quadratic(cut)
    for _ in zip(range(17), first.run(), strict=False):
        pass
    state = {key: value.clone() for key, value in first.state().items()}
    resumed = {"a": nn.Parameter(torch.zeros(4))}
    second = quadratic(resumed)
    second.load(state)
    rest = list(second.run())
    assert rest == losses[-len(rest) :]
    assert torch.equal(resumed["a"], whole["a"])


def test_the_averages_are_nearer_to_the_solution_than_the_last_step_and_are_resumed() -> None:
    params = {"a": nn.Parameter(torch.ones(4))}
    trainer, cut = quadratic(params, 200), quadratic({"a": nn.Parameter(torch.ones(4))}, 200)
    for _ in zip(range(100), cut.run(), strict=False):
        pass
    resumed = quadratic({"a": nn.Parameter(torch.zeros(4))}, 200)
    resumed.load(cut.state())
    for each in (trainer, resumed):
        list(each.run())
    assert trainer.averages["a"].norm() < 0.7 * params["a"].norm()  # the solution is 0
    assert torch.equal(trainer.averages["a"], resumed.averages["a"])


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    param = nn.Parameter(torch.ones(1))
    trainer = Trainer({"a": param}, lambda step: param.sum() * (float("inf") if step == 3 else 1.0), 10, 0.1)
    with pytest.raises(TrainingError, match="step 4"):
        list(trainer.run())


def test_a_gradient_that_is_not_finite_stops_the_training_before_an_update() -> None:
    param = nn.Parameter(torch.zeros(1))
    with pytest.raises(TrainingError, match="gradient became inf at step 1"):
        list(Trainer({"a": param}, lambda _: param.sqrt().sum(), 1, 0.1).run())
    assert torch.equal(param, torch.zeros(1))


def test_the_checkpoint_of_another_training_is_refused() -> None:
    with pytest.raises(TrainingError):
        quadratic({"a": nn.Parameter(torch.ones(4))}).load({"step": torch.tensor(1), "param.b": torch.ones(1)})


def test_crops_have_the_ratio_of_the_paper_and_the_size_of_a_frame() -> None:
    size = 60
    ramp = torch.arange(size).view(1, 1, size, 1).expand(2, size, size, 3).to(torch.uint8).numpy()
    crops = crop_bank(ramp, 64, seed=0)
    assert crops.shape == (64, size, size, 3)
    widths = [(int(crop[0, -1, 0]) - int(crop[0, 0, 0]) + 1) / size for crop in crops]
    assert CROP_RATIO[0] - 0.05 < min(widths) < 0.4
    assert 0.6 < max(widths) < CROP_RATIO[1] + 0.05
    assert (crop_bank(ramp, 4, seed=1) == crop_bank(ramp, 4, seed=1)).all()


def test_crops_of_pictures_of_several_sizes_have_one_size_and_whole_frames_are_possible() -> None:
    pictures = [np.full((side, side, 3), side, np.uint8) for side in (20, 90)]
    crops = crop_bank(pictures, 32, 0, size=(16, 16), ratios=(1.0, 1.0))
    assert crops.shape == (32, 16, 16, 3)
    assert set(crops.flatten().tolist()) == {20, 90}
    (ramp,) = crop_bank(np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3), 1, 0, ratios=(1.0, 1.0))
    assert (ramp.flatten() == np.arange(48)).all()


@pytest.mark.parametrize(("noise_from", "first"), [(0.0, 0), (0.7, 700)])
def test_the_loss_is_computed_at_the_requested_timesteps(
    backbone: UNetBackbone, monkeypatch: pytest.MonkeyPatch, noise_from: float, first: int
) -> None:
    drawn: list[int] = []
    add_noise = backbone.add_noise

    def recording(latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        drawn.extend(timesteps.tolist())
        return add_noise(latents, noise, timesteps)

    monkeypatch.setattr(backbone, "add_noise", recording)
    latents, text = torch.zeros(256, 4, 1, 2, 2), backbone.encode_text(["a"])
    with backbone.without_time(), torch.no_grad():
        denoising_loss(backbone, latents, text, step_generator(0, 0), noise_from=noise_from)
    assert first <= min(drawn) < first + 30
    assert 970 < max(drawn) < 1000


def test_the_absorber_trains_with_every_temporal_layer_bypassed(backbone: UNetBackbone) -> None:
    crops = backbone.encode_stills(crop_bank(np.zeros((2, 32, 32, 3), np.uint8), 4, 0))
    for name, param in backbone.denoiser.named_parameters():
        if any(part in name for part in ("temp_", "transformer_in", "motion_modules")):
            param.fill_(torch.nan)
    params = new_absorber(backbone, "a lantern", with_lora=True, with_token=True, rank=4, seed=0)
    loss = absorber_loss(backbone, params, crops, "a lantern", batch_size=2, seed=0)(0)
    assert loss.isfinite()
    text = backbone.encode_text(["a lantern"])
    assert denoising_loss(backbone, crops, text, step_generator(0, 0)).isnan(), (
        "with time, the loss passes through these layers"
    )


@pytest.mark.parametrize(("with_lora", "with_token"), [(True, True), (True, False), (False, True)])
def test_an_absorber_learns_and_nothing_else_changes(backbone: UNetBackbone, with_lora: bool, with_token: bool) -> None:
    frames = world.render(world.reference("circle", "lantern", "white", "moon"))
    crops = backbone.encode_stills(crop_bank(frames, 8, 0))
    base = {key: value.clone() for key, value in backbone.denoiser.state_dict().items()}
    texts = {key: value.clone() for key, value in backbone.text_encoder.state_dict().items()}
    params = new_absorber(backbone, "a lantern", with_lora=with_lora, with_token=with_token, rank=4, seed=0)
    before = extract(params)
    loss_at = absorber_loss(backbone, params, crops, "a lantern", batch_size=2, seed=0)
    list(Trainer(params, loss_at, num_steps=3, lr=1e-2).run())
    after = extract(params)
    trained = [
        key for key in after if key == TOKEN or ".to_v." in key
    ]  # over one pixel the softmax is constant: q and k get no gradient
    assert trained
    assert all(not torch.equal(before[key], after[key]) for key in trained)
    assert (TOKEN in after) is with_token
    now = backbone.denoiser.state_dict()
    layer = {key.replace(".base_layer", ""): value for key, value in now.items() if "cav_absorber" not in key}
    assert all(torch.equal(base[key], layer[key]) for key in base)
    assert all(torch.equal(texts[key], value) for key, value in backbone.text_encoder.state_dict().items())


def test_a_style_trains_on_stills_of_the_base_under_their_own_prompts(backbone: UNetBackbone) -> None:
    frames = world.render(world.reference("circle", "lantern", "white", "moon"))
    crops, others = (backbone.encode_stills(crop_bank(frames, 8, seed, ratios=STYLE_RATIO)) for seed in (0, 1))
    text, losses = backbone.encode_text(["a red cat in the snow"]), []
    for own in ([], [(text, -others)]):
        params = new_absorber(backbone, "a lantern", with_lora=True, with_token=False, rank=4, seed=0)
        loss_at = absorber_loss(backbone, params, crops, "a lantern", batch_size=2, seed=0, own=own)
        list(Trainer(params, loss_at, num_steps=30, lr=1e-2).run())
        with torch.no_grad(), backbone.without_time():
            losses.append(float(denoising_loss(backbone, -others, text, step_generator(1, 0))))
        lora.remove_all(backbone.denoiser)
    assert losses[1] < losses[0]


def test_a_motion_trains_under_a_frozen_absorber(backbone: UNetBackbone) -> None:
    absorber = extract(new_absorber(backbone, "a lantern", with_lora=True, with_token=True, rank=4, seed=0))
    lora.remove_all(backbone.denoiser)
    absorber = {key: value + 0.01 for key, value in absorber.items()}
    token = load_absorber(backbone, absorber)
    assert token is not None
    params = lora.inject(backbone.denoiser, "cav_motion", backbone.temporal_targets(), 4, seed=1)
    text = backbone.encode_text(["a lantern twirls"], token)
    latents = torch.randn(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    others = {
        f"{part}.{name}": value.clone()
        for part in PARTS
        for name, value in getattr(backbone, part).state_dict().items()
        if "cav_motion" not in name
    }
    trainer = Trainer(params, lambda step: denoising_loss(backbone, latents, text, step_generator(0, step)), 3, 1e-2)
    with_absorber, *_ = trainer.run()
    assert any("cav_absorber" in name for name in others)
    now = {part: getattr(backbone, part).state_dict() for part in PARTS}
    for name, value in others.items():
        part, _, key = name.partition(".")
        assert torch.equal(value, now[part][key]), name
    learned = extract(params)
    assert all(value.abs().sum() > 0 for key, value in learned.items() if ".to_v.lora_B" in key)
    lora.remove_all(backbone.denoiser)
    without = denoising_loss(backbone, latents, text, step_generator(0, 0)).item()
    assert abs(with_absorber - without) > 1e-4, "the absorber had no effect while the motion trained"


def test_with_dropout_a_step_of_stage_2_runs_without_the_absorber(modelscope_backbone: UNetBackbone) -> None:
    backbone = modelscope_backbone
    latents = torch.randn(1, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def losses(token: Tensor | None, dropout: float) -> list[float]:
        loss_at = motion_loss(backbone, latents, "a lantern twirls", token, batch_size=1, seed=0, dropout=dropout)
        with torch.no_grad():
            return [loss_at(step).item() for step in range(8)]

    never, bare = losses(None, 1e-9), losses(None, 1.0)
    assert never == bare
    absorber = new_absorber(backbone, "a lantern", with_lora=True, with_token=True, rank=4, seed=0)
    state = {key: value + 0.1 for key, value in extract(absorber).items()}
    lora.remove_all(backbone.denoiser)
    token = load_absorber(backbone, state)
    loaded = losses(token, 1e-9)
    assert losses(token, 1.0) == bare
    half = losses(token, 0.5)
    assert all(loss in {with_it, without} for loss, with_it, without in zip(half, loaded, bare, strict=True))
    assert set(half) & set(loaded)
    assert set(half) & set(bare)
    assert losses(token, 1e-9) == loaded, "it was not switched on again"


def test_half_of_the_draws_of_stage_2_take_the_clip_and_the_others_its_versions(
    modelscope_backbone: UNetBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version is recognised by its value."""
    latents = torch.arange(5.0).reshape(5, 1, 1, 1, 1).expand(5, 4, 2, 8, 8)
    seen: list[float] = []

    def note(_: UNetBackbone, latents_BCFHW: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
        seen.extend(latents_BCFHW[:, 0, 0, 0, 0].tolist())
        return torch.tensor(0.0)

    monkeypatch.setattr("cavtool.core.adapters.absorber.denoising_loss", note)
    for count in (5, 1):
        loss_at = motion_loss(modelscope_backbone, latents[:count], "it twirls", None, batch_size=8, seed=0)
        for step in range(50):
            loss_at(step)
    several, alone = np.array(seen[:400]), seen[400:]
    assert 0.4 < (several == 0).mean() < 0.6
    assert {*several} == {0, 1, 2, 3, 4}
    assert {*alone} == {0}
