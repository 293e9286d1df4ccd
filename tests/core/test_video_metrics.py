"""Steadiness, dynamic degree and appearance of clips that are made up for it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from huggingface_hub import constants

from cavtool.core.metrics.appearance import diversity, leakage
from cavtool.core.metrics.dynamic import dynamic_degree
from cavtool.core.metrics.flow import find_flows
from cavtool.core.metrics.pattern import pattern_fidelity, read_pattern
from cavtool.core.metrics.temporal import consistency, flicker
from cavtool.core.metrics.text import attribute_alignment, clip_alignment
from cavtool.core.metrics.tracks import Frames
from cavtool.errors import InvalidInput, RequirementError
from cavtool.mini import world
from tests.small_models import save_clip


def still(subject: str = "cat", colour: str = "red", place: str = "forest") -> Frames:
    return world.render(world.Scene(subject, colour, place))


def sliding(step: int, num_frames: int = 16) -> Frames:
    """A picture that moves `step` pixels of 256 to the left in each frame."""
    picture = np.kron(still("cat")[0], np.ones((4, 12, 1), np.uint8))  # (256, 768, 3)
    return np.stack([picture[:, step * frame : step * frame + 256] for frame in range(num_frames)])


def test_flicker_is_the_mean_change_of_a_pixel() -> None:
    frames = np.full((4, 8, 8, 3), 100, np.uint8)
    assert flicker(frames) == 1
    frames[1::2] = 151
    assert flicker(frames) == pytest.approx(1 - 51 / 255)


def test_movement_does_not_lower_the_consistency_but_noise_does() -> None:
    moving = sliding(8)
    noisy = (moving + np.random.default_rng(0).normal(0, 15, moving.shape)).clip(0, 255).astype(np.uint8)
    assert consistency(find_flows(still())) == pytest.approx(1, abs=1e-3)
    assert consistency(find_flows(moving)) > 0.995
    assert flicker(moving) < 0.99
    assert consistency(find_flows(noisy)) < 0.98


def test_a_clip_is_dynamic_if_its_fastest_pixels_move_6_of_256_in_a_quarter_of_the_frames() -> None:
    slow, fast = dynamic_degree(find_flows(sliding(3))), dynamic_degree(find_flows(sliding(10)))
    assert (slow.is_dynamic, fast.is_dynamic) == (False, True)
    assert fast.flow == pytest.approx(10 / 256, rel=0.2)
    halved = dynamic_degree(find_flows(sliding(5)), fps=16)  # the same movement in twice as many frames
    assert halved.is_dynamic
    assert halved.flow == pytest.approx(fast.flow, rel=0.1)
    moves_at_the_end = np.concatenate([sliding(0, 14), sliding(10, 2)])
    assert not dynamic_degree(find_flows(moves_at_the_end)).is_dynamic
    assert dynamic_degree(find_flows(sliding(10)[:, ::4, ::4])).is_dynamic


@pytest.mark.parametrize("motion", ["circle", "zigzag", "swing"])
def test_the_pattern_of_a_motion_is_found_on_another_subject_even_if_it_flickers(motion: str) -> None:
    """Every other frame shows the subject in another colour: no track survives."""
    reference = read_pattern(world.render(world.reference(motion, "lantern", "white", "snow")))
    looks = (("cat", "red", "forest"), ("cat", "purple", "forest"))
    clips = [world.render(world.reference(motion, *look)) for look in looks]
    flickers = np.where(np.arange(16)[:, None, None, None] % 2, *clips).astype(np.uint8)
    assert pattern_fidelity(reference, reference) == pytest.approx(1)
    assert pattern_fidelity(read_pattern(clips[0]), reference) > 0.5
    assert pattern_fidelity(read_pattern(flickers), reference) > 0.5
    assert pattern_fidelity(read_pattern(clips[0][::-1]), reference) < 0.3
    assert pattern_fidelity(read_pattern(still()), reference) == 0


def test_the_pattern_of_a_camera_is_found_in_another_place_and_not_backwards() -> None:
    reference = read_pattern(world.render(world.reference("dolly zoom", "lantern", "white", "snow")))
    clip = world.render(world.reference("dolly zoom", "cat", "red", "forest"))
    back = pattern_fidelity(read_pattern(clip[::-1]), reference)
    assert pattern_fidelity(read_pattern(clip), reference) > max(0.5, 1.5 * back)


def test_a_picture_that_is_compressed_anew_in_each_frame_does_not_move_but_a_soft_disc_does() -> None:
    def jpeg(frame: Frames, quality: int) -> Frames:
        _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))

    compressed = np.stack([jpeg(frame, 30 + 4 * i) for i, frame in enumerate(still())])
    y, x = np.mgrid[:64, :64]
    disc = [130 + 60 * np.exp(-((x - 16 - 2 * i) ** 2 + (y - 32) ** 2) / 200) for i in range(16)]
    assert not read_pattern(compressed).moves
    assert read_pattern(np.stack(disc).astype(np.uint8)[..., None].repeat(3, -1)).moves


def test_patterns_of_clips_of_different_lengths_are_refused() -> None:
    clip = sliding(4)
    with pytest.raises(InvalidInput, match="different numbers of frames, 8 and 16"):
        pattern_fidelity(read_pattern(clip[:8]), read_pattern(clip))


def test_leakage_is_the_likeness_to_the_frames_of_the_reference() -> None:
    reference = world.render(world.reference("circle", "cat", "red", "forest"))
    assert leakage(reference[::-1], reference) == pytest.approx(1)
    same_place, neither = (
        leakage(still("rocket", "blue"), reference),
        leakage(still("rocket", "blue", "desert"), reference),
    )
    assert neither < 0.5 < same_place < leakage(still(), reference)


def test_diversity_is_0_for_copies_and_counts_the_pairs() -> None:
    one, other = still(), still("rocket", "blue", "desert")
    assert diversity([one, one]) == pytest.approx([0, 0])
    first, second, apart = diversity([one, one, other])
    assert first == pytest.approx(second)
    assert apart == pytest.approx(2 * first) == pytest.approx(diversity([one, other])[0])


def test_the_alignment_is_the_share_of_what_is_requested() -> None:
    seen = {"subject": "cat", "colour": "blue", "place": "forest"}
    assert attribute_alignment({"subject": "cat", "colour": "red", "place": ""}, seen) == 0.5
    assert attribute_alignment({"subject": "", "colour": "", "place": ""}, seen) is None


def test_clip_without_its_weights_names_the_command_that_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/nonexistent")
    with pytest.raises(RequirementError) as refused:
        clip_alignment(still(), "a red cat")
    assert "hf download openai/clip-vit-large-patch14" in str(refused.value.hint)


def test_clip_measures_videos_with_the_weights_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_clip(tmp_path / "models--openai--clip-vit-large-patch14")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    scores = [clip_alignment(still(), "a red cat"), clip_alignment(still("rocket", "blue", "desert"), "a red cat")]
    assert all(0 <= score <= 100 for score in scores)
    assert scores[0] != scores[1]
