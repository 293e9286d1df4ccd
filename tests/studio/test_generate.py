import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cavtool import video
from cavtool.core.adapters import lora
from cavtool.errors import Conflict, Incompatible, IntegrityFailure, InvalidInput, NotFound, RequirementError
from cavtool.events import Event, Note, Stage, Warn
from cavtool.models import find_model
from cavtool.recipes import Blend, SampleRecipe
from cavtool.registry.record import Record
from cavtool.schema import read
from cavtool.studio.generate import generate
from cavtool.studio.session import Session, open_session
from cavtool.workspace import Workspace
from tests.core.test_lora import random_state

QUICK = SampleRecipe("a red cat in the forest", seed=5, steps=2)


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session("cav-mini")


@pytest.fixture
def shaky(session: Session, tmp_path: Path) -> str:
    """A random motion in the registry with a visible effect."""
    state = random_state(session.backbone, session.backbone.temporal_targets(), 0)
    lora.save(state, tmp_path / "weights", {"format": "pt"})
    Workspace().registry.put(record("shaky"), {"weights.safetensors": tmp_path / "weights"})
    return "shaky"


def record(name: str, **changes: str) -> Record:
    model = find_model("cav-mini")
    draft = Record(
        name=name,
        kind="motion",
        origin="learned",
        base_model=model.name,
        fingerprint=model.fingerprint,
        revision=model.revision,
        prompt="it shakes",
        appearance="",
        rank=2,
    )
    return dataclasses.replace(draft, **changes)  # type: ignore[arg-type]


def pixels(file: Path) -> video.Frames:
    return video.decode(file, start=0, duration=2, num_frames=16, width=256, height=256)


@pytest.mark.slow
def test_videos_finished_before_an_interruption_are_in_the_history(session: Session, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Stage) and event.index == 2:
            raise KeyboardInterrupt

    recipe = SampleRecipe("a red cat", seed=3, num_videos=3, steps=1)
    with pytest.raises(KeyboardInterrupt):
        generate(recipe, output=tmp_path, session=session, on_event=interrupt)
    (entry,) = Workspace().history.entries()
    assert [Path(file).name for file in entry.files] == ["a-red-cat-3.mp4"]
    assert isinstance(entry.recipe, SampleRecipe)
    assert entry.recipe.num_videos == 1


@pytest.mark.slow
def test_a_seed_gives_the_same_video_every_time(session: Session) -> None:
    made: dict[int, video.Frames] = {}
    for seed in (7, 8, 7):
        frames = session.generate("a blue car", seed, steps=2, guidance=6.0)
        if seed in made:
            assert np.array_equal(made[seed], frames)
        made[seed] = frames
    assert not np.array_equal(made[7], made[8])


@pytest.mark.slow
def test_n_videos_have_consecutive_seeds_and_equal_single_runs(session: Session, tmp_path: Path) -> None:
    recipe = dataclasses.replace(QUICK, num_videos=3)
    files = generate(recipe, output=tmp_path, session=session)
    assert [f.name for f in files] == [f"a-red-cat-in-the-forest-{seed}.mp4" for seed in (5, 6, 7)]
    for seed, file in zip(recipe.seeds, files, strict=True):
        (alone,) = generate(dataclasses.replace(QUICK, seed=seed), output=tmp_path / f"alone-{seed}.mp4")
        assert np.array_equal(pixels(file), pixels(alone))


@pytest.mark.slow
def test_a_motion_changes_the_video_by_its_weight_and_is_removed_afterwards(
    session: Session, shaky: str, tmp_path: Path
) -> None:
    def made(*motions: Blend) -> video.Frames:
        recipe = dataclasses.replace(QUICK, motions=motions)
        return pixels(generate(recipe, output=tmp_path / "v.mp4", overwrite=True, session=session)[0]).astype(int)

    base, full, none = made(), made(Blend(shaky)), made(Blend(shaky, 0.0))
    assert np.abs(full - base).mean() > 2
    assert np.array_equal(none, base)
    assert np.array_equal(made(), base), "the motion stayed in the model"
    assert 0 < np.abs(made(Blend(shaky, 0.3)) - base).mean() < np.abs(full - base).mean()


@pytest.mark.slow
def test_a_motion_in_turns_with_itself_is_the_motion_alone(session: Session, shaky: str, tmp_path: Path) -> None:
    def made(*motions: Blend, turns: bool) -> video.Frames:
        recipe = dataclasses.replace(QUICK, motions=motions, turns=turns)
        return pixels(generate(recipe, output=tmp_path / "v.mp4", overwrite=True, session=session)[0]).astype(int)

    alone, twice = made(Blend(shaky), turns=False), [Blend(shaky)] * 2
    assert np.array_equal(made(*twice, turns=True), alone)
    assert not np.array_equal(made(*twice, turns=False), alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("windows", "turns", "told"),
    [
        ([None, (0.5, 1.0)], False, "added motions disturb each other"),
        ([(0.0, 0.5), (0.5, 1.0)], False, ""),
        ([None, None], True, ""),
        ([None], True, "`--turns` does nothing with fewer than two motions"),
    ],
)
def test_motions_that_are_added_are_said_to_disturb_each_other(
    session: Session, shaky: str, tmp_path: Path, windows: list[tuple[float, float] | None], turns: bool, told: str
) -> None:
    events: list[Event] = []
    blends = tuple(Blend(shaky, window=window) for window in windows)
    recipe = dataclasses.replace(QUICK, motions=blends, turns=turns, steps=1)
    generate(recipe, output=tmp_path / "v.mp4", session=session, on_event=events.append)
    texts = [e.text for e in events if isinstance(e, Note | Warn) and "motions" in e.text]
    assert [told in text for text in texts] == [True] * bool(told)


@pytest.mark.slow
def test_ten_motions_add_up_and_more_than_fit_into_the_metadata_are_refused(
    session: Session, shaky: str, tmp_path: Path
) -> None:
    def made(*motions: Blend) -> video.Frames:
        recipe = dataclasses.replace(QUICK, motions=motions)
        return pixels(generate(recipe, output=tmp_path / "v.mp4", overwrite=True, session=session)[0]).astype(int)

    ten, one = made(*[Blend(shaky, 0.1)] * 10), made(Blend(shaky))
    assert np.abs(ten - one).mean() < 0.5
    with pytest.raises(InvalidInput, match="33 motions are too many for one video, at most 32") as refused:
        dataclasses.replace(QUICK, motions=(Blend(shaky),) * 33)
    assert "cav mix" in (refused.value.hint or "")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", video.SUFFIXES)
def test_the_file_holds_the_recipe_without_paths_which_reproduces_it(
    session: Session, shaky: str, tmp_path: Path, suffix: str
) -> None:
    motions = (Blend(shaky, 0.7), Blend(shaky, -0.2, window=(0.5, 1.0)))
    recipe = dataclasses.replace(QUICK, motions=motions, negative="blue", steps=2, turns=True)
    (file,) = generate(recipe, output=tmp_path / f"first{suffix}", session=session)
    recorded = video.read_recipe(file)
    assert recorded is not None
    content_id = Workspace().registry.get(shaky).record.content_id
    assert recorded["motions"] == [
        {"name": shaky, "weight": 0.7, "content_id": content_id},
        {"name": shaky, "weight": -0.2, "content_id": content_id, "window": [0.5, 1.0]},
    ]
    assert str(tmp_path) not in str(recorded)
    assert "/" not in str(recorded)
    events: list[Event] = []
    (again,) = generate(
        read(recorded, SampleRecipe, "the recipe"),
        output=tmp_path / f"again{suffix}",
        session=session,
        on_event=events.append,
    )
    assert again.read_bytes() == file.read_bytes()
    assert not any(isinstance(e, Warn) for e in events)
    (bare,) = generate(recipe, output=tmp_path / f"bare{suffix}", metadata=False, session=session)
    assert video.read_recipe(bare) is None


@pytest.mark.slow
def test_a_recipe_made_with_different_weights_is_used_with_a_warning(
    session: Session, shaky: str, tmp_path: Path
) -> None:
    events: list[Event] = []
    recipe = dataclasses.replace(QUICK, motions=(Blend(shaky, 1.0, "0" * 64),), revision="0" * 12)
    generate(recipe, output=tmp_path, session=session, on_event=events.append)
    warnings = [e.text for e in events if isinstance(e, Warn)]
    assert any("`shaky` has been replaced" in text for text in warnings)
    assert any("different weights of `cav-mini`" in text for text in warnings)


@pytest.mark.slow
def test_damaged_weights_are_refused(shaky: str, tmp_path: Path) -> None:
    weights = Workspace().registry.get(shaky).weights
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityFailure, match="weights of `shaky` are damaged"):
        generate(dataclasses.replace(QUICK, motions=(Blend(shaky),)), output=tmp_path)
    assert list(tmp_path.glob("*.mp4")) == []


@pytest.mark.slow
def test_unknown_words_and_the_native_size_are_reported(session: Session, tmp_path: Path) -> None:
    events: list[Event] = []
    recipe = dataclasses.replace(
        QUICK, prompt="a red wombat dances" + " in the forest" * 20, negative="man", guidance=1
    )
    (file,) = generate(recipe, output=tmp_path / "v.mp4", session=session, on_event=events.append)
    warning, truncated, unused = [e.text for e in events if isinstance(e, Warn)]
    assert truncated.startswith("the prompt is too long: `cav-mini` ignores it from `")
    assert truncated.endswith(" …` on")
    assert "`--negative` does nothing" in unused
    assert "`wombat`, `dances`, `man`" in warning
    assert "`red`" not in warning
    assert "--model" in warning
    assert any("64x64" in e.text for e in events if isinstance(e, Note))
    assert video.probe(file).width == 256


def test_a_motion_of_another_architecture_is_refused_with_both_names(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    lora.save({"x": torch.zeros(1)}, weights, {"format": "pt"})
    Workspace().registry.put(
        record("foreign", base_model="zeroscope", fingerprint="0" * 16), {"weights.safetensors": weights}
    )
    with pytest.raises(Incompatible, match=r"zeroscope.*cav-mini"):
        generate(dataclasses.replace(QUICK, motions=(Blend("foreign"),)), output=tmp_path)


def test_existing_files_and_unknown_motions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "there.mp4").write_bytes(b"precious")
    with pytest.raises(Conflict, match=r"there\.mp4"):
        generate(QUICK, output=tmp_path / "there.mp4")
    assert (tmp_path / "there.mp4").read_bytes() == b"precious"
    with pytest.raises(NotFound, match="nothing"):
        generate(dataclasses.replace(QUICK, motions=(Blend("nothing"),)), output=tmp_path)
    assert list(tmp_path.glob("*.mp4")) == [tmp_path / "there.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["modelscope", "animatediff"])
def test_a_folder_of_every_family_generates(family: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    recipe = SampleRecipe("a red cat", seed=1, steps=1, model=str(request.getfixturevalue(family)))
    (file,) = generate(recipe, output=tmp_path / "v.gif")
    media = video.probe(file)
    assert (media.width, media.height) == (64, 64)
    recorded = video.read_recipe(file)
    assert recorded is not None
    assert recorded["model"] == family


def test_weights_too_large_for_a_video_are_refused_and_nothing_is_written(session: Session, tmp_path: Path) -> None:
    state = random_state(session.backbone, session.backbone.temporal_targets(), 0)
    lora.save({key: 1e15 * value for key, value in state.items()}, tmp_path / "weights", {"format": "pt"})
    Workspace().registry.put(record("strong"), {"weights.safetensors": tmp_path / "weights"})
    recipe = dataclasses.replace(QUICK, motions=(Blend("strong", 100.0),))
    with pytest.raises(InvalidInput, match="not finite"):
        generate(recipe, output=tmp_path / "black.mp4", session=session)
    assert not list(tmp_path.glob("*.mp4"))
    assert not Workspace().history.entries()


def test_what_cannot_be_written_is_refused_before_the_model_is_opened(tmp_path: Path) -> None:
    (tmp_path / "text").touch()
    with pytest.raises(RequirementError, match=r"cannot write to `.*text`"):
        generate(QUICK, output=tmp_path / "text" / "x.mp4")
    with pytest.raises(RequirementError, match=r"cannot write to `/proc/nowhere`"):
        generate(QUICK, output=Path("/proc/nowhere/x.mp4"))
    with pytest.raises(InvalidInput, match="`--scale 10000` is too large: 640000x640000, "):
        generate(dataclasses.replace(QUICK, scale=10_000), output=tmp_path / "x.mp4")
