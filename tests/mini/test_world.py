import numpy as np
import pytest

from cavtool.core.metrics.channels import active_channels, fidelity
from cavtool.mini import places, sprites, world
from cavtool.mini.sprites import subject_view

ALL_MOTIONS = list(world.HELD_OUT_MOTIONS)


@pytest.fixture(scope="module")
def scenes() -> list[world.Scene]:
    """Moving scenes of pretraining."""
    return [world.sample_scene(seed) for seed in range(1000)]


def still(**values: float) -> world.Scene:
    courses = {name: np.full(world.NUM_FRAMES, value) for name, value in values.items()}
    return world.Scene("car", "red", "desert", 1, courses)


def centre_of_change(scene: world.Scene) -> tuple[float, float]:
    """Where the subject is: the middle of what differs from the same place with the subject out of sight."""
    empty = world.render(still(x=9.0), 1)[0].astype(int)
    changed = np.abs(world.render(scene, 1)[0].astype(int) - empty).sum(-1) > 30
    rows, columns = np.nonzero(changed)
    return (columns.min() + columns.max() + 1) / 2 / world.SIDE, (rows.min() + rows.max() + 1) / 2 / world.SIDE


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    first, again, other = (world.render(world.sample_scene(seed)) for seed in (4, 4, 5))
    assert first.shape == (16, 64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.2, -0.1), (-0.15, 0.2)])
def test_the_subject_is_where_the_ground_truth_says(x: float, y: float) -> None:
    middle, moved = centre_of_change(still()), centre_of_change(still(x=x, y=y))
    assert moved[0] - middle[0] == pytest.approx(x, abs=0.02)
    assert moved[1] - middle[1] == pytest.approx(y, abs=0.02)


def test_every_course_held_out_differs_from_every_course_of_pretraining(scenes: list[world.Scene]) -> None:
    """No scene of pretraining moves like a held-out motion."""
    seen = [scene.channels for scene in scenes[:600]]
    for name in ALL_MOTIONS:
        truth = world.reference(name, "duck", "white", "moon").channels
        assert fidelity(truth, truth) == pytest.approx(1.0)
        if name == "dolly zoom":  # the camera zooms in as for others, but the subject's size is held
            assert all(np.ptp(scene["log_scale"]) >= 0.15 for scene in seen if fidelity(scene, truth) > 0.75)
        else:
            assert max(fidelity(scene, truth) for scene in seen) <= 0.6, name


def test_many_clips_move_in_ways_no_word_names(scenes: list[world.Scene]) -> None:
    """As in a real model's pretraining: a motion to learn is one among many it has no name for."""
    scenes = scenes[:300]
    turning = [scene for scene in scenes if np.ptp(scene.channels["yaw"]) > 20]
    to_and_fro = [s for s in scenes if np.abs(np.diff(np.sign(np.diff(s.channels["x"])))).sum() >= 6]
    assert len(turning) > 30
    assert len(to_and_fro) > 10
    assert not {word for scene in turning for word in scene.caption.split()} & {"wobbles", "bounces", "grows"}


def test_pretraining_shows_every_pose_the_held_out_motions_pass_through(scenes: list[world.Scene]) -> None:
    shown = [world.sample_still(seed).channels for seed in range(3000)]
    shown += [scene.channels for scene in scenes]
    for name in ALL_MOTIONS:
        truth = world.reference(name, "duck", "white", "moon").channels
        for channel in active_channels(truth):
            angle = channel in {"roll", "yaw"}
            seen, wanted = np.concatenate([scene[channel] for scene in shown]), truth[channel]
            seen, wanted = (seen % 360, wanted % 360) if angle else (seen, wanted)
            gap = max(np.abs(seen - value).min() for value in wanted)
            assert gap < (8 if angle else 0.08), (name, channel, gap)


def test_no_held_out_look_or_word_is_ever_drawn() -> None:
    never = {*sprites.HELD_OUT_SUBJECTS, *sprites.HELD_OUT_COLOURS, *places.HELD_OUT_PLACES}
    never |= {"zigzag", "circle", "swing", "spiral", "twirl", "dolly", "somersault", "eight"}
    for seed in range(500):
        for scene in (world.sample_scene(seed), world.sample_still(seed)):
            assert not never & {scene.subject, scene.colour, scene.place, *scene.caption.replace(",", "").split()}


def test_captions_come_in_every_length() -> None:
    assert world.caption("ironman") == "ironman"
    assert world.caption("cat", "red") == "a red cat"
    full = world.caption("cat", "orange", "desert", "moves left", "zooms in")
    assert full == "an orange cat moves left in the desert, the camera zooms in"
    lengths = {len(world.sample_scene(seed).caption.split()) for seed in range(300)}
    assert min(lengths) <= 2
    assert max(lengths) >= 10


def test_yaw_narrows_and_mirrors_and_shows_its_sign() -> None:
    def width(yaw: int) -> int:
        return int((subject_view("car", "red", yaw)[..., 3].max(0) > 0).sum())

    assert width(0) > width(60) > width(90)
    front, back = subject_view("car", "red", 0), subject_view("car", "red", 180)
    assert np.abs(front[:, ::-1].astype(int) - back).mean() < np.abs(front.astype(int) - back).mean()
    assert not np.array_equal(subject_view("car", "red", 45), subject_view("car", "red", 315))


@pytest.mark.parametrize("yaw", [88, 90, 92, 268, 270, 272])
def test_a_subject_seen_edge_on_is_solid(yaw: int) -> None:
    edge = subject_view("house", "red", yaw)[..., 3].astype(float) / 255
    beside = subject_view("house", "red", 80)[..., 3].astype(float) / 255
    assert edge.sum() > 0.5 * beside.sum()


def test_the_camera_moves_far_things_less_than_near_ones() -> None:
    def shift(rows: slice) -> float:
        before, after = (world.render(still(x=9.0, camera_x=x), 1)[0, rows].astype(float) for x in (0.0, 0.1))
        errors = [np.abs(after[:, : -s or None] - before[:, s:]).mean() for s in range(12)]
        return float(np.argmin(errors))

    far, near = shift(slice(0, 20)), shift(slice(44, 64))
    assert far <= near
    assert near == pytest.approx(0.1 * world.SIDE, abs=1.5)
