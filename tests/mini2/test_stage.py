from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from cavtool.mini2.training.stage import Stage

NUM_STEPS = 40


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which steps were made; the clock says how many."""
    made: list[int] = []
    monkeypatch.setattr("cavtool.mini2.training.stage.time", SimpleNamespace(monotonic=lambda: len(made)))
    return made


def stage(steps: list[int]) -> Stage:
    """Pull one number towards 1."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)

    def loss_at(step: int) -> Tensor:
        steps.append(step)
        loss: Tensor = (model.weight - 1).square().sum()
        return loss

    return Stage("test", model, NUM_STEPS, 0.1, loss_at)


def test_cut_in_the_middle_it_goes_on_where_it_was(steps: list[int], tmp_path: Path) -> None:
    assert not stage(steps).train(tmp_path, deadline=7)
    assert steps == list(range(7))
    goes_on = stage(steps)
    assert goes_on.train(tmp_path, deadline=1000)
    assert steps == list(range(NUM_STEPS))
    state = torch.load(tmp_path / "test.pt", weights_only=True)
    assert state["step"] == NUM_STEPS
    assert torch.equal(goes_on.model.state_dict()["weight"], state["average"]["weight"]), "the average is what is kept"
    assert 0 < state["average"]["weight"].item() < state["model"]["weight"].item()


def test_done_it_has_nothing_left_to_do(steps: list[int], tmp_path: Path) -> None:
    assert stage(steps).train(tmp_path, deadline=1000)
    assert stage(steps).train(tmp_path, deadline=1000)
    assert steps == list(range(NUM_STEPS))
