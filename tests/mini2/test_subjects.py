"""Toys are solid from all sides, and differ from each other and from their own back."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cavtool.mini2.world.solids import MAIN, Solid, build, draw, view
from cavtool.mini2.world.subjects import COLOURS, HELD_OUT_SUBJECTS, SUBJECTS, palette, rest_yaw, subject_names, toy

SIDE = 96
PAPER = (255, 0, 255)  # a colour that no toy has


def picture(subject: str, yaw: float = 0.0, roll: float = 0.0, colour: str = "red") -> np.ndarray:
    """A toy alone, (H, W, 3)."""
    image = Image.new("RGB", (SIDE, SIDE), PAPER)
    turn = view(rest_yaw(subject) + yaw, 12, roll)
    draw(ImageDraw.Draw(image), toy(subject), palette(colour), (SIDE / 2, SIDE / 2), SIDE * 0.7, turn)
    return np.asarray(image).astype(int)


def shape(drawn: np.ndarray) -> np.ndarray:
    return np.asarray((drawn != PAPER).any(-1))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


@pytest.mark.parametrize("subject", subject_names())
def test_a_toy_is_solid_from_every_side(subject: str) -> None:
    areas = [shape(picture(subject, yaw)).mean() for yaw in range(0, 360, 15)]
    assert min(areas) > 0.3 * max(areas), "it does not vanish when seen edge-on"


@pytest.mark.parametrize("subject", subject_names())
def test_the_back_of_a_toy_is_neither_its_front_nor_the_mirror_image_of_it(subject: str) -> None:
    front, back = picture(subject), picture(subject, 180)
    assert difference(front, back) > 2
    assert difference(front[:, ::-1], back) > 2


@pytest.mark.parametrize("subject", subject_names())
def test_a_full_turn_is_the_same_and_a_twelfth_is_not(subject: str) -> None:
    assert np.array_equal(picture(subject, 360), picture(subject))
    assert difference(picture(subject, 30), picture(subject)) > 0.5


def test_the_front_turns_to_the_viewers_right() -> None:
    nose = build([Solid("ball", MAIN, (0, 0, 0), (0.2, 0.2, 0.2)), Solid("box", "light", (0, 0, 0.4), (0.1, 0.1, 0.1))])
    for yaw, side in ((60, 1), (-60, -1)):
        image = Image.new("RGB", (SIDE, SIDE), PAPER)
        draw(ImageDraw.Draw(image), nose, palette("red"), (SIDE / 2, SIDE / 2), SIDE * 0.7, view(yaw, 0, 0))
        light = np.abs(np.asarray(image).astype(int) - 200).max(-1) < 56
        assert (np.nonzero(light)[1].mean() - SIDE / 2) * side > SIDE * 0.1


def test_a_toy_rolls_clockwise() -> None:
    upright, rolled = shape(picture("rocket")), shape(picture("rocket", roll=90))
    assert difference(np.rot90(upright, -1).astype(int), rolled.astype(int)) < 0.02


def test_no_two_toys_look_alike() -> None:
    pictures = {subject: picture(subject) for subject in subject_names()}
    for one, other in combinations(pictures, 2):
        assert difference(pictures[one], pictures[other]) > 8, (one, other)


@pytest.mark.parametrize("subject", [name for name in SUBJECTS if name != "ironman"])
@pytest.mark.parametrize("colour", COLOURS)
def test_the_colour_of_a_caption_covers_most_of_the_toy(subject: str, colour: str) -> None:
    drawn = picture(subject, colour=colour)
    main = np.array(palette(colour)[MAIN])
    covered = drawn[shape(drawn)]
    share = np.sum(
        np.linalg.norm(covered / np.maximum(1, covered.max(-1, keepdims=True)) - main / main.max(), axis=-1) < 0.2
    )
    assert share / len(covered) > 0.3


def test_held_out_subjects_are_not_in_pretraining() -> None:
    assert not set(HELD_OUT_SUBJECTS) & set(SUBJECTS)
    assert len(SUBJECTS) == 8
