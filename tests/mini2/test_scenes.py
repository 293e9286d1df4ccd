"""Frames, ground truth and captions of a scene agree with each other."""

import numpy as np
import pytest

from cavtool.core.metrics.channels import active_channels, fidelity, spread
from cavtool.mini2.world.camera import Camera
from cavtool.mini2.world.motions import CAMERA_CONTROLS, HELD_OUT_MOTIONS, OBJECT_MOTIONS
from cavtool.mini2.world.places import HELD_OUT_PLACES, PLACES
from cavtool.mini2.world.sampling import sample_scene, sample_still
from cavtool.mini2.world.scenes import (
    HELD_OUT_WORDS,
    NUM_FRAMES,
    SIDE,
    TIME,
    Scene,
    caption,
    reference,
    render,
    words,
)
from cavtool.mini2.world.subjects import HELD_OUT_COLOURS, HELD_OUT_SUBJECTS

HIDDEN = 9.0  # an x at which the subject is out of sight


def still(**values: float) -> Scene:
    return Scene("car", "red", "desert", 1, {name: np.full(NUM_FRAMES, value) for name, value in values.items()})


def frame(scene: Scene) -> np.ndarray:
    return np.asarray(render(scene, 1)[0], dtype=int)


def subject_box(**values: float) -> tuple[float, float, float]:
    """Centre and height of the subject, in frame widths, from the difference to the same place without it."""
    changed = np.abs(frame(still(**values)) - frame(still(**values | {"x": HIDDEN}))).sum(-1) > 30
    rows, columns = np.nonzero(changed)
    middle = (columns.min() + columns.max() + 1) / 2 / SIDE, (rows.min() + rows.max() + 1) / 2 / SIDE
    return *middle, (rows.max() + 1 - rows.min()) / SIDE


def background_shift(before: np.ndarray, after: np.ndarray, axis: int) -> int:
    """The number of pixels by which the second picture is shifted against the first."""
    return min(range(-16, 17), key=lambda s: np.abs(_cut(before, s, axis) - _cut(after, -s, axis)).mean())


def _cut(picture: np.ndarray, shift: int, axis: int) -> np.ndarray:
    return np.take(picture, range(max(0, -shift), SIDE - max(0, shift)), axis=axis)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    first, again, other = (render(sample_scene(seed)) for seed in (4, 4, 5))
    assert first.shape == (16, 64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.2, -0.1), (-0.15, 0.2)])
def test_the_subject_is_where_the_ground_truth_says(x: float, y: float) -> None:
    middle, moved = subject_box(), subject_box(x=x, y=y)
    assert moved[0] - middle[0] == pytest.approx(x, abs=0.02)
    assert moved[1] - middle[1] == pytest.approx(y, abs=0.02)


@pytest.mark.parametrize("values", [{"log_scale": 0.3}, {"log_focal": 0.3}, {"log_distance": -0.3}])
def test_a_zoom_and_a_dolly_change_the_subjects_size_as_the_ground_truth_says(values: dict[str, float]) -> None:
    seen = np.log(subject_box(**values)[2] / subject_box()[2])
    assert still(**values).channels["log_scale"][0] == pytest.approx(0.3)
    assert seen == pytest.approx(0.3, abs=0.06)


def test_pans_and_tilts_move_the_background_as_the_ground_truth_says_and_not_the_subject() -> None:
    rest = still(x=HIDDEN)
    for control, angle, channel, axis in (("pan", 7.0, "camera_x", 1), ("tilt", -7.0, "camera_y", 0)):
        turned = still(x=HIDDEN, **{control: angle})
        shift = background_shift(frame(turned), frame(rest), axis)
        stated = float(turned.channels[channel][0]) * SIDE
        assert stated == pytest.approx(np.tan(np.deg2rad(7.0)) * SIDE, abs=0.3)
        assert shift == pytest.approx(stated, abs=1.5)
        assert subject_box(**{control: angle})[axis - 1] == pytest.approx(subject_box()[axis - 1], abs=0.02)


def test_in_a_dolly_zoom_the_background_grows_and_the_subject_keeps_its_size() -> None:
    scene = reference("dolly zoom", "cat", "red", "city")
    assert np.ptp(scene.channels["log_scale"]) < 1e-9
    assert np.diff(scene.channels["camera_zoom"]).min() > 0
    assert spread("camera_zoom", scene.channels["camera_zoom"]) == pytest.approx(0.7, abs=0.05)
    assert active_channels(scene.channels) == ("camera_zoom",)
    near, far = (np.exp(c.log_focal) / (c.distance + behind) for c in (scene.cameras[-1],) for behind in (1.0, 6.0))
    near_before, far_before = (
        np.exp(c.log_focal) / (c.distance + behind) for c in (scene.cameras[0],) for behind in (1.0, 6.0)
    )
    assert far / far_before > 1.3 * near / near_before, "distant things grow more than near ones"


def test_an_orbit_turns_the_subject_and_sweeps_the_background() -> None:
    channels = reference("orbit", "cat", "red", "city").channels
    assert active_channels(channels) == ("yaw", "camera_x")
    assert spread("yaw", channels["yaw"]) == pytest.approx(54)


def test_a_fly_over_looks_at_the_subject_from_further_above() -> None:
    scene = reference("fly-over", "cat", "red", "city")
    assert np.ptp([camera.elevation for camera in scene.cameras]) > 30
    assert {"camera_y", "camera_zoom"} <= set(active_channels(scene.channels))


def test_near_things_pass_faster_than_far_ones() -> None:
    near, far = np.array([[0.0, 1.0, 4.0]]), np.array([[0.0, 1.0, 9.0]])
    before, after = Camera(), Camera(azimuth=15)
    moved = [abs(float((after.project(p)[0] - before.project(p)[0])[0, 0])) for p in (near, far)]
    assert moved[0] < moved[1], "things further behind the anchor move further"


@pytest.mark.parametrize("place", PLACES)
def test_no_view_of_a_place_is_empty(place: str) -> None:
    for control, value in (("azimuth", 30.0), ("azimuth", -30.0), ("pan", 14.0), ("pan", -14.0)):
        picture = frame(Scene("car", "red", place, 2, {"x": np.full(NUM_FRAMES, HIDDEN), control: np.full(16, value)}))
        assert len({tuple(pixel) for row in picture for pixel in row}) > 8, (place, control, value)


# Coverage of pretraining


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Moving scenes of pretraining; about one draw in 20 moved like a held-out motion and was drawn again."""
    return [sample_scene(seed) for seed in range(1000)]


@pytest.fixture(scope="module")
def stills() -> list[Scene]:
    """Still scenes of pretraining."""
    return [sample_still(seed) for seed in range(3000)]


def test_every_held_out_track_differs_from_every_track_of_pretraining(scenes: list[Scene]) -> None:
    seen = [scene.channels for scene in scenes]
    for name in HELD_OUT_MOTIONS:
        whole = reference(name, "duck", "white", "moon").channels
        truth = {channel: whole[channel] for channel in active_channels(whole)}  # the others do not count
        assert fidelity(truth, truth) == pytest.approx(1.0)
        if name == "dolly zoom":  # the background zooms as it does for others, but the subject keeps its size
            alike = [scene for scene in seen if fidelity(scene, truth) > 0.6]
            assert all(np.ptp(scene["log_scale"]) >= 0.3 * np.ptp(scene["camera_zoom"]) for scene in alike)
        else:
            assert max(fidelity(scene, truth) for scene in seen) <= 0.6, name


def test_pretraining_shows_every_pose_that_held_out_motions_pass_through(stills: list[Scene]) -> None:
    for name in HELD_OUT_MOTIONS:
        held_out = reference(name, "duck", "white", "moon")
        for channel in active_channels(held_out.channels):
            angle = channel in {"roll", "yaw"}
            values = np.array([scene.channels[channel][0] for scene in stills]), held_out.channels[channel]
            seen, needed = (value % 360 if angle else value for value in values)
            gap = max(np.abs(seen - value).min() for value in needed)
            assert gap < (8 if angle else 0.08), (name, channel, gap)


def test_pretraining_shows_the_background_from_every_camera_of_held_out_motions(stills: list[Scene]) -> None:
    for control in CAMERA_CONTROLS:
        seen = np.array([float(scene.controls[control][0]) for scene in stills])
        for motion in HELD_OUT_MOTIONS.values():
            needed = motion(TIME).get(control, np.zeros(1))
            assert seen.min() - 0.05 <= needed.min()
            assert needed.max() <= seen.max() + 0.05


def test_held_out_subjects_colours_places_and_words_are_never_drawn(scenes: list[Scene], stills: list[Scene]) -> None:
    never = {*HELD_OUT_SUBJECTS, *HELD_OUT_COLOURS, *HELD_OUT_PLACES, *" ".join(HELD_OUT_MOTIONS).split()}
    assert never <= HELD_OUT_WORDS
    assert not never & set(words())
    for scene in (*scenes, *stills):
        assert not never & {scene.subject, scene.colour, scene.place, *scene.caption.replace(",", "").split()}


def test_many_clips_move_in_ways_that_no_word_names(scenes: list[Scene]) -> None:
    scenes = scenes[:300]
    to_and_fro = [s for s in scenes if np.abs(np.diff(np.sign(np.diff(s.channels["x"])))).sum() >= 6]
    assert len(to_and_fro) > 10
    parallax = [scene for scene in scenes if np.ptp(scene.controls["azimuth"]) > 10]
    assert len(parallax) > 10
    named = {word for scene in to_and_fro for word in scene.caption.split()} & {"moves", "rises", "bounces"}
    assert not named


def test_a_caption_says_what_moves(scenes: list[Scene]) -> None:
    for scene in scenes:
        motions = [motion for motion in OBJECT_MOTIONS if f" {motion}" in scene.caption]
        if motions:
            moved = OBJECT_MOTIONS[motions[0]](TIME, 1.0)
            assert all(np.ptp(scene.controls[name]) > 0.5 * np.ptp(track) for name, track in moved.items())


def test_captions_come_in_every_length(scenes: list[Scene]) -> None:
    assert caption("ironman") == "ironman"
    assert caption("cat", "red") == "a red cat"
    full = caption("cat", "orange", "desert", "moves left", "zooms in")
    assert full == "an orange cat moves left in the desert, the camera zooms in"
    lengths = {len(scene.caption.split()) for scene in scenes}
    assert min(lengths) <= 2
    assert max(lengths) >= 10
