"""Heads of Wan that look across frames, and training restricted to them."""

from typing import Any

import torch

from cavtool.core.adapters import lora
from cavtool.core.adapters.heads import attention_shares, is_temporal, other_heads, restrict
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones.wan import WanBackbone, _recorded
from cavtool.core.losses import denoising_loss
from cavtool.core.noise import step_generator
from cavtool.core.trainer import Trainer
from tests.core.test_wan import PROMPT, clip_noise, opened


def test_heads_are_classified_by_their_attention() -> None:
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
