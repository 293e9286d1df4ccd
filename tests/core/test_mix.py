import pytest
import torch
from torch import Tensor

from cavtool.core.adapters.lora import LoraState, pairs_of, state_of
from cavtool.core.adapters.mix import combine, rank_of, truncate
from cavtool.errors import Incompatible, IntegrityFailure, InvalidInput

SHAPES = {"down.to_q": (12, 10), "down.to_k": (6, 14), "up.to_q": (5, 4)}  # out and in features


def lora_of(seed: int, rank: int, layers: tuple[str, ...] = tuple(SHAPES)) -> LoraState:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return state_of({name: (drawn(rank, SHAPES[name][1]), drawn(SHAPES[name][0], rank)) for name in layers})


def deltas(state: LoraState) -> dict[str, Tensor]:
    """BA of every layer, fp64."""
    return {name: B.double() @ A.double() for name, (A, B) in pairs_of(state).items()}


def test_the_combination_is_the_weighted_sum_also_of_layers_that_one_lacks() -> None:
    first, second = lora_of(1, 2, ("down.to_q", "up.to_q")), lora_of(2, 3, ("down.to_q", "down.to_k"))
    mixed = combine([(first, 0.7), (second, -1.5)])
    assert {(len(A), B.shape[1]) for A, B in pairs_of(mixed).values()} == {(5, 5)}, "one rank for every layer"
    assert {tensor.dtype for tensor in mixed.values()} == {torch.float32}
    summed, one, other = deltas(mixed), deltas(first), deltas(second)
    torch.testing.assert_close(
        summed["down.to_q"], 0.7 * one["down.to_q"] - 1.5 * other["down.to_q"], rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(summed["up.to_q"], 0.7 * one["up.to_q"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(summed["down.to_k"], -1.5 * other["down.to_k"], rtol=1e-6, atol=1e-6)


def test_loras_of_half_precision_are_combined_in_fp32() -> None:
    half = {key: tensor.half() for key, tensor in lora_of(1, 2).items()}
    expected = {name: 2 / 3 * delta for name, delta in deltas(half).items()}
    torch.testing.assert_close(deltas(combine([(half, 1 / 3), (half, 1 / 3)])), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_truncation_is_the_best_approximation_and_its_error_is_that_of_the_whole_matrices(rank: int) -> None:
    exact = combine([(lora_of(1, 4), 1.0), (lora_of(2, 4), 0.5)])
    state, error = truncate(exact, rank)
    assert rank_of(state) == rank
    lost = total = 0.0
    for name, delta in deltas(exact).items():
        U, S, Vh = torch.linalg.svd(delta, full_matrices=False)
        torch.testing.assert_close(deltas(state)[name], (U[:, :rank] * S[:rank]) @ Vh[:rank], rtol=1e-5, atol=1e-5)
        lost += float((deltas(state)[name] - delta).square().sum())
        total += float(delta.square().sum())
    assert error == pytest.approx((lost / total) ** 0.5, rel=1e-5, abs=1e-7)


def test_truncation_loses_nothing_if_the_matrices_have_no_higher_rank() -> None:
    """Two motions are one motion twice, so the sum of rank 6 has matrices of rank 3."""
    motion = lora_of(1, 3)
    state, error = truncate(combine([(motion, 1.0), (motion, 0.5)]), 3)
    assert error < 1e-6
    torch.testing.assert_close(
        deltas(state), {n: 1.5 * delta for n, delta in deltas(motion).items()}, rtol=1e-5, atol=1e-5
    )


def test_a_rank_above_that_of_the_smallest_layer_is_padded() -> None:
    state, _ = truncate(combine([(lora_of(1, 4), 1.0), (lora_of(2, 4), 1.0)]), 6)
    assert {len(A) for A, _ in pairs_of(state).values()} == {6}
    assert pairs_of(state)["up.to_q"][0].shape == (6, 4)


def test_untrained_motions_have_no_error() -> None:
    untrained = state_of({"up.to_q": (torch.ones(2, 4), torch.zeros(5, 2))})
    assert truncate(combine([(untrained, 1.0), (untrained, 0.5)]), 1)[1] == 0


def test_different_shapes_huge_weights_and_damaged_files_are_refused() -> None:
    other = state_of({"up.to_q": (torch.zeros(2, 9), torch.zeros(5, 2))})
    with pytest.raises(Incompatible, match=r"`up\.to_q` with different shapes"):
        combine([(lora_of(1, 2), 1.0), (other, 1.0)])
    with pytest.raises(InvalidInput, match="not finite"):
        combine([(lora_of(1, 2), 1e300), (lora_of(2, 2), 1.0)])
    for damaged in (
        {"unet.up.to_q.lora_A.weight": torch.zeros(2, 4)},
        {"unet.up.to_q.lora_A.weight": torch.zeros(2), "unet.up.to_q.lora_B.weight": torch.zeros(2)},
        {"unet.up.to_q.lora_A.weight": torch.zeros(2, 4), "unet.up.to_q.lora_B.weight": torch.zeros(5, 3)},
    ):
        with pytest.raises(IntegrityFailure, match=r"`up\.to_q` do not fit each other"):
            combine([(lora_of(1, 2), 1.0), (damaged, 1.0)])
