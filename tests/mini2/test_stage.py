from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from cavtool.mini2.training.stage import Stage

NUM_STEPS = 40


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that were run; their number is the time on the clock."""
    run: list[int] = []
    monkeypatch.setattr("cavtool.mini2.training.stage.time", SimpleNamespace(monotonic=lambda: len(run)))
    return run


def stage(steps: list[int]) -> Stage:
    """A stage that trains one number towards 1."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)

    def loss_at(step: int) -> Tensor:
        steps.append(step)
        loss: Tensor = (model.weight - 1).square().sum()
        return loss

    return Stage("test", model, NUM_STEPS, 0.1, loss_at)


def test_an_interrupted_stage_continues_at_the_next_step(steps: list[int], tmp_path: Path) -> None:
    assert not stage(steps).train(tmp_path, deadline=7)
    assert steps == list(range(7))
    resumed = stage(steps)
    assert resumed.train(tmp_path, deadline=1000)
    assert steps == list(range(NUM_STEPS))
    state = torch.load(tmp_path / "test.pt", weights_only=True)
    assert state["step"] == NUM_STEPS
    assert torch.equal(resumed.model.state_dict()["weight"], state["average"]["weight"]), "the result is the average"
    assert 0 < state["average"]["weight"].item() < state["model"]["weight"].item()


def test_a_finished_stage_does_nothing(steps: list[int], tmp_path: Path) -> None:
    assert stage(steps).train(tmp_path, deadline=1000)
    assert stage(steps).train(tmp_path, deadline=1000)
    assert steps == list(range(NUM_STEPS))
