"""One training in several processes, as `accelerate launch` and `torchrun` start them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cavtool.errors import InvalidInput
from cavtool.events import Step
from cavtool.recipes import DType, LearnRecipe
from cavtool.studio.learn import learn
from cavtool.workspace import Workspace
from tests.nursery import Nursery, job

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks as POSIX does")
RECIPE = LearnRecipe(rank=2, batch_size=3, absorber_steps=2, steps=3, lr=5e-4, dtype=DType.FP32)


def command(circle: Path, model: Path, *options: str) -> list[str]:
    line = ["learn", "circle", str(circle), "--model", str(model), "--rank", "2", "--batch-size", "3", "--lr", "5e-4"]
    return [*line, "--absorber-steps", "2", "--dtype", "fp32", "--device", "cpu", *options]


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one(circle: Path, two_frames: Path, home: Path, tmp_path: Path) -> None:
    """A batch of three videos: one process takes one of them, the other two."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "CAV_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, "-m", "tests.studio.test_distributed", *command(circle, two_frames, "--steps", "3")],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "only the main process prints"
    (run,) = Workspace().runs.list()
    steps = [(event.stage, event.step) for event in run.events() if isinstance(event, Step)]
    assert steps == [("absorber", 1), ("absorber", 2), ("motion", 1), ("motion", 2), ("motion", 3), ("preview", 1)]
    alone = Workspace(tmp_path / "alone")
    learn("circle", circle, LearnRecipe(**{**vars(RECIPE), "model": str(two_frames)}), workspace=alone)
    for name in ("circle", "circle-look"):
        found, expected = (load_file(each.registry.get(name).weights) for each in (Workspace(), alone))
        for key, value in expected.items():
            share = ((found[key] - value).abs() > 1e-5).float().mean()
            # AdamW divides a gradient by its size: where one of a convolution is all rounding, its sign is left to it.
            assert share <= (0.1 if "temp_convs" in key else 0), key
        assert max(value.abs().max() for key, value in expected.items() if "lora_B" in key) > 1e-4, "it learned"


def _quicken() -> None:
    from cavtool.studio.learn import train

    train.PREVIEW_STEPS = 1


def _join(rank: int, port: int) -> None:
    """Set the variables that a launcher sets."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def cav(rank: int, port: int, folder: str, home: str, *arguments: str) -> None:
    """A job of the nursery: one of two processes of the program."""
    from tests import forked

    _join(rank, port)
    (Path(folder) / str(rank)).mkdir()
    forked.cav(folder, home, str(Path(folder) / str(rank)), *arguments)


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_all_after_a_checkpoint(
    circle: Path,
    two_frames: Path,
    home: Path,
    tmp_path: Path,
    _nursery: Nursery,  # noqa: PT019 the fixture's value is used
) -> None:
    port, line = _free_port(), command(circle, two_frames, "--steps", "50")
    _nursery.start(*(job(cav, rank, port, tmp_path, home, *line) for rank in range(2)))
    end = time.monotonic() + 60
    while not any(isinstance(event, Step) for run in Workspace().runs.list() for event in run.events()):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(int((tmp_path / "1" / "pid").read_text()), signal.SIGINT)
    assert _nursery.wait() == [130, 130]
    (run,) = Workspace().runs.list()
    assert run.status == "stopped"
    assert run.step > 0
    assert f"cav runs resume {run.id}" in (tmp_path / "0" / "stderr").read_text()
    assert (tmp_path / "1" / "stdout").read_text() == (tmp_path / "1" / "stderr").read_text() == ""


def train(rank: int, port: int, file: str) -> None:
    """A job of the nursery: one of two trainings, of which the second fails in its third step."""
    from torch import Tensor, nn, ones

    from cavtool.core.distributed import connect, from_main
    from cavtool.core.trainer import Trainer

    _join(rank, port)
    connect("cpu")
    param = nn.Parameter(ones(2))

    def loss_at(step: int) -> Tensor:
        if step == 2 and rank == 1:
            raise torch.OutOfMemoryError("out of memory") if file.endswith("memory") else ValueError("no such thing")
        return (param * (1.0 + rank)).square().sum()

    try:
        list(Trainer({"a": param}, loss_at, 5, 0.1).run())
    except Exception as error:
        Path(f"{file}-{rank}").write_text(f"{type(error).__name__}: {error}; {param.tolist()}")
        assert from_main(lambda: 7) == 7, "the processes are still in step"
        raise


@pytest.mark.parametrize("kind", ["memory", "other"])
def test_an_error_in_one_process_ends_all(tmp_path: Path, _nursery: Nursery, kind: str) -> None:  # noqa: PT019
    port, file = _free_port(), tmp_path / kind
    codes = _nursery.run(*(job(train, rank, port, file) for rank in range(2)))
    assert 0 not in codes
    (main, weights), (other, same) = (Path(f"{file}-{rank}").read_text().split("; ") for rank in range(2))
    assert weights == same != "[1.0, 1.0]"
    if kind == "memory":
        assert main == other == "OutOfMemoryError: out of memory", "all try one more option"
    else:
        assert (main, other) == ("TrainingError: process 1 failed: no such thing", "ValueError: no such thing")


def test_more_processes_than_videos_in_a_batch_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from cavtool.core.distributed import shares_of

    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InvalidInput) as caught:
        shares_of(2)
    assert caught.value.hint == "use `--batch-size 4`, or fewer processes"


if __name__ == "__main__":
    from cavtool.__main__ import main

    _quicken()
    main()
