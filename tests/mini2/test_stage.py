import os
import socket
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from cavtool.mini2.training.stage import Stage, join_processes

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


def test_a_stage_can_be_done_at_the_deadline(steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cavtool.mini2.training.stage._WARM_UP", 1)
    model = nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    def loss_at(step: int) -> Tensor:
        steps.append(step)
        seen.append(model.weight.item())
        return model.weight.sum()  # a slope that never ends

    finished = Stage("test", model, NUM_STEPS, 0.1, loss_at)
    assert finished.train(tmp_path, deadline=20, finish=True)
    assert len(seen) == 20
    moved = [before - after for before, after in pairwise(seen)]
    assert moved[10] == pytest.approx(moved[2], rel=0.1)
    assert moved[-1] < 0.5 * moved[10], "the rate falls"
    assert finished.train(tmp_path, deadline=1000)
    assert len(seen) == 20, "it is done"


def test_a_stage_that_had_no_time_is_not_done(steps: list[int], tmp_path: Path) -> None:
    assert not stage(steps).train(tmp_path, deadline=0, finish=True)
    assert stage(steps).train(tmp_path, deadline=1000)
    assert len(steps) == NUM_STEPS


def _train_together(rank: int, port: int, work: Path) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    join_processes()
    _regression(together=False).train(work, deadline=float("inf"))


def _regression(*, together: bool) -> Stage:
    """The sum of a picture, one picture a draw, or two a step; its weights lie in memory as the autoencoder's do."""
    model = nn.Conv2d(2, 1, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)  # type: ignore[arg-type]
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of(draw: int) -> Tensor:
        inputs = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(draw))
        loss: Tensor = (model(inputs) - inputs.sum()).square().mean()
        return loss

    def loss_at(step: int) -> Tensor:
        return (loss_of(2 * step) + loss_of(2 * step + 1)) / 2 if together else loss_of(step)

    return Stage("sum", model, 10, 0.1, loss_at)


def test_two_processes_train_as_one_with_all_their_scenes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    work, alone = tmp_path / "two", tmp_path / "one"
    for folder in (work, alone):
        folder.mkdir()
    spawn(_train_together, (port, work), nprocs=2)  # type: ignore[no-untyped-call]
    _regression(together=True).train(alone, deadline=float("inf"))
    ours, theirs = (torch.load(folder / "sum.pt", weights_only=True)["model"] for folder in (work, alone))
    assert ours["weight"].abs().min() > 0.001
    torch.testing.assert_close(ours, theirs)
    assert (work / "log.jsonl").read_text().count("\n") == 1, "one process logs"
