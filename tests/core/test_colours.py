import numpy as np
import pytest

from cavtool.core.backbones.protocol import FramesFHWC
from cavtool.core.colours import recoloured
from cavtool.mini import world

CLIP = world.render(world.reference("circle", "lantern", "white", "moon", layout=3))


def square(ground: tuple[int, int, int], colour: tuple[int, int, int]) -> FramesFHWC:
    """A square that crosses the ground in five frames and covers no pixel twice."""
    frames = np.full((5, 12, 12, 3), ground, np.uint8)
    for i, frame in enumerate(frames):
        frame[4:6, 2 * i : 2 * i + 2] = colour
    return frames


def squares(versions: list[FramesFHWC]) -> FramesFHWC:
    """The colour of the square in each version."""
    return np.array([version[0, 4, 0] for version in versions])


def test_what_moves_takes_all_kinds_of_colours_and_the_ground_keeps_its_own() -> None:
    versions = recoloured(square((120, 120, 120), (250, 250, 250)), 40, 0)
    colours = squares(versions).astype(float)
    assert colours.min(0).max() < 60, "never dark"
    assert colours.max(0).min() > 200, "never bright"
    assert np.abs(np.corrcoef(colours.T)[np.triu_indices(3, 1)]).max() < 0.5, "only grey"
    for version in versions:
        assert (version[:, 8:] == 120).all()
        assert (version[1:, 4, 0] == 120).all(), "the square is still where it was"


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0), (250, 235, 215), (128, 128, 128)])
def test_what_moves_stays_visible_on_any_ground(ground: tuple[int, int, int]) -> None:
    clip = square(ground, (40, 90, 160))
    contrast = np.abs(squares([clip]).astype(int) - ground).sum()
    for colour in squares(recoloured(clip, 40, 1)).astype(int):
        assert np.abs(colour - ground).sum() >= 0.15 * contrast


def test_a_recoloured_clip_moves_where_the_clip_does() -> None:
    changes = np.abs(np.diff(CLIP.astype(int), axis=0)).sum(-1)
    for version in recoloured(CLIP, 4, 0):
        assert version.shape == CLIP.shape
        assert version.dtype == np.uint8
        assert np.abs(version.astype(int) - CLIP).max() > 60
        same = np.abs(np.diff(version.astype(int), axis=0)).sum(-1)
        assert np.corrcoef(changes.ravel(), same.ravel())[0, 1] > 0.7


def test_what_does_not_move_keeps_its_colours() -> None:
    still = np.repeat(CLIP[:1], 4, axis=0)
    assert all(np.array_equal(version, still) for version in recoloured(still, 3, 0))


def test_a_seed_gives_the_same_colours() -> None:
    first, same, other = (recoloured(CLIP, 2, seed)[1] for seed in (3, 3, 4))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
