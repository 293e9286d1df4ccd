"""Files of weights on a disk that refuses them."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from cavtool.errors import RequirementError, TrainingError
from cavtool.studio import weights
from cavtool.studio.learn import _check_preview
from cavtool.video import Frames
from tests.runs.samples import begin


def test_a_full_disk_is_a_requirement_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    run = begin(tmp_path / "runs", "twirl")
    monkeypatch.setattr(weights, "save_file", refuse)
    with pytest.raises(RequirementError, match="No space left on device") as caught:
        run.checkpoint(3, lambda path: weights.save_tensors({"x": torch.zeros(1)}, path))
    assert "free some space" in (caught.value.hint or "")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert [path.name for path in run.folder.iterdir()] == ["run.toml"]


def test_a_motion_that_makes_every_video_black_is_not_saved() -> None:
    frames: Frames = torch.full((4, 8, 8, 3), 5, dtype=torch.uint8).numpy()
    with pytest.raises(TrainingError, match="its preview is black"):
        _check_preview(frames)
    _check_preview(frames + 100)
