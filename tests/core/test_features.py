"""Likeness in a base model's own features: on every family, and on cav-mini, which knows what it sees."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cavtool.core.backbones import memory as backbone_memory
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.protocol import FramesFHWC
from cavtool.core.metrics.features import features, likeness
from cavtool.mini import world
from cavtool.recipes import NO_SAVING
from cavtool.studio.session import open_session

NOISE = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture(params=["modelscope", "animatediff", "2.1", "a14b", "5b"])
def any_folder(request: pytest.FixtureRequest, folder_of: Callable[[str], Path]) -> Path:
    kind: str = request.param
    return request.getfixturevalue(kind) if kind in ("modelscope", "animatediff") else folder_of(kind)


def test_a_clip_is_most_like_itself(any_folder: Path) -> None:
    backbone = open_backbone(any_folder, device="cpu", dtype="fp32")
    ours, others = features(backbone, NOISE), features(backbone, 255 - NOISE)
    assert likeness(ours, ours) == pytest.approx(1)
    assert likeness(ours, others) == pytest.approx(likeness(others, ours))
    assert likeness(ours, others) < 1 - 1e-5


def test_a_compiled_denoiser_has_the_same_features(modelscope: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiler(graph: Any, _: Any) -> Callable[..., Any]:
        forward: Callable[..., Any] = graph.forward
        return forward

    monkeypatch.setattr(backbone_memory, "COMPILER", compiler)
    plain = open_backbone(modelscope, device="cpu", dtype="fp32")
    compiled = open_backbone(modelscope, device="cpu", dtype="fp32", memory=replace(NO_SAVING, compile=True))
    assert likeness(features(compiled, NOISE), features(plain, NOISE)) == pytest.approx(1, abs=1e-4)


def shown(subject: str, colour: str, place: str) -> FramesFHWC:
    return world.render(world.reference("circle", subject, colour, place))


@pytest.mark.parametrize("colour", ["red", "white"])
def test_a_subject_that_leaks_into_another_place_is_seen(colour: str) -> None:
    """The reference's rocket flies in the forest instead of a red cat, in the colour asked for or its own."""
    reference, asked = shown("rocket", "white", "snow"), shown("cat", "red", "forest")
    leaked = shown("rocket", colour, "forest")
    backbone = open_session("cav-mini").backbone
    of_reference, of_asked, of_leaked = (features(backbone, each) for each in (reference, asked, leaked))
    assert likeness(of_leaked, of_reference) > likeness(of_asked, of_reference) + 0.01
