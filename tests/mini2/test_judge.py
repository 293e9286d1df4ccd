"""The judge's parts; how well it reads is measured by `tests/benchmarks/judge.py`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cavtool.mini2.judge import train
from cavtool.mini2.judge.network import ATTRIBUTES, Network, TurnNetwork, cut_out
from cavtool.mini2.judge.reading import Judge, agree
from cavtool.mini2.judge.train import PIECE, any_scene, draw_piece, judge_stage, moves_between, turn_stage
from cavtool.mini2.world.scenes import CHANNELS, Scene, reference, render
from cavtool.mini2.world.subjects import HELD_OUT_SUBJECTS


def test_it_reads_every_attribute_and_channel_of_a_clip() -> None:
    torch.manual_seed(0)
    reading = Judge(Network(), TurnNetwork()).read(render(reference("orbit", "cat", "red", "snow")))
    assert reading.subject in ATTRIBUTES["subject"]
    assert reading.place in ATTRIBUTES["place"]
    assert set(reading.channels) == set(CHANNELS)
    assert all(track.shape == (16,) and np.isfinite(track).all() for track in reading.channels.values())


def test_the_camera_track_agrees_with_all_pairs_of_frames() -> None:
    truth = np.cumsum(np.random.default_rng(0).normal(size=(16, 2)), axis=0) * 0.05
    truth -= truth[0]
    zoom = np.linspace(0, 0.7, 16)
    pairs = np.array([(f, f + gap) for gap in (1, 2, 3) for f in range(16 - gap)])
    scale = np.exp(zoom[pairs[:, 1]] - zoom[pairs[:, 0]])
    moved = truth[pairs[:, 1]] - scale[:, None] * truth[pairs[:, 0]]
    assert np.allclose(agree(pairs, scale, moved, 16), truth)


def test_the_target_of_a_pair_is_the_motion_of_the_background() -> None:
    scene = Scene("cat", "red", "city", 0, {"pan": np.linspace(0, 10, 16)})
    channels = np.stack([scene.channels[name][[0, 5, 10, 15]] for name in CHANNELS], axis=1)
    moves = moves_between(torch.tensor(channels, dtype=torch.float32)[None])
    assert moves.shape == (6, 1, 3)
    first_to_last = moves[2, 0]
    assert first_to_last[0] < -0.1, "a camera that turns right moves the background left"
    assert abs(float(first_to_last[2])) < 1e-5


def test_it_is_trained_on_every_subject_place_and_colour() -> None:
    scenes = [any_scene(seed) for seed in range(200)]
    assert {scene.subject for scene in scenes} == set(ATTRIBUTES["subject"])
    assert set(HELD_OUT_SUBJECTS) <= {scene.subject for scene in scenes}
    assert {scene.place for scene in scenes} == set(ATTRIBUTES["place"])
    assert {scene.colour for scene in scenes} == {*ATTRIBUTES["colour"], ""}


def test_a_piece_is_a_few_frames_in_order_with_their_ground_truth() -> None:
    frames, attributes, channels = draw_piece(7)
    scene = any_scene(7)
    assert frames.shape == (PIECE, 64, 64, 3)
    assert ATTRIBUTES["subject"][attributes[0]] == scene.subject
    whole = np.stack([scene.channels[name] for name in CHANNELS], axis=1)
    at = [int(np.abs(whole - row).sum(1).argmin()) for row in channels]
    assert at == sorted(at)
    assert np.array_equal(render(scene)[at], frames)


@pytest.mark.slow
def test_both_networks_learn_from_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "PIECES_A_STEP", 6)
    torch.manual_seed(0)
    frames, attributes, channels = zip(*(draw_piece(seed) for seed in range(4)), strict=True)
    pieces = (np.stack(frames), torch.tensor(attributes), torch.tensor(np.stack(channels)))
    for stage in (judge_stage(pieces, Network()), turn_stage(pieces, TurnNetwork())):
        with torch.inference_mode():
            before = stage.loss_at(99)
        assert replace(stage, num_steps=12, ema_decay=0.5).train(tmp_path, float("inf"))
        with torch.inference_mode():
            assert stage.loss_at(99) < 0.9 * before, stage.name


def test_what_turns_are_read_from_is_the_subject_wherever_it_is() -> None:
    """The same subject elsewhere, twice as far away, gives the same picture to read."""
    here = Scene("car", "red", "city", 0, {})
    there = Scene(
        "car", "red", "city", 0, {"x": np.full(16, 0.15), "y": np.full(16, -0.1), "log_scale": np.full(16, -0.4)}
    )
    cuts = []
    for scene in (here, there):
        placing = torch.tensor([[scene.channels[name][0] for name in ("x", "y", "log_scale")]], dtype=torch.float32)
        pixels = torch.tensor(render(scene, 1)).movedim(-1, 1).float() / 127.5 - 1
        cuts.append(cut_out(pixels, placing))
    middle = (..., slice(8, 24), slice(8, 24))
    assert (cuts[0][middle] - cuts[1][middle]).abs().mean() < 0.15
    other = cut_out(pixels, torch.zeros(1, 3))
    assert (cuts[0][middle] - other[middle]).abs().mean() > 0.3
