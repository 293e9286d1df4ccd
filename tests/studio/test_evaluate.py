"""Evaluations of real files."""

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

import cavtool
from cavtool import Evaluation, evaluate, video
from cavtool.errors import Conflict, InvalidInput, MediaError, NotFound
from cavtool.events import Event
from cavtool.mini import world
from cavtool.workspace import Workspace
from tests.cli.assets import put_motion


def film(
    path: Path,
    motion: str = "circle",
    subject: str = "cat",
    colour: str = "red",
    *,
    fps: float = 8,
    scale: int = 1,
    reverse: bool = False,
) -> Path:
    frames = world.render(world.reference(motion, subject, colour, "forest"))
    video.encode(frames[::-1] if reverse else frames, path, fps=fps, scale=scale)
    return path


def rows_of(found: list[Evaluation], kind: str) -> dict[str, Evaluation]:
    return {each.name: each for each in found if each.kind == kind}


def test_videos_of_any_size_and_rate_are_compared_with_a_reference(tmp_path: Path) -> None:
    reference = film(tmp_path / "ref.mp4", subject="rocket", colour="blue", scale=4)
    same = film(tmp_path / "same.mp4")
    slow = film(tmp_path / "slow.gif", fps=4, scale=2)
    back = film(tmp_path / "back.mp4", reverse=True)
    events: list[Event] = []
    report = tmp_path / "reports" / "circle.png"
    found = evaluate([same, slow, back], reference=reference, report=report, on_event=events.append)
    videos = rows_of(found, "video")
    assert list(videos) == ["same.mp4", "slow.gif", "back.mp4"]
    motion = {name: each.motion or 0 for name, each in videos.items()}
    assert motion["same.mp4"] > 0.8
    assert motion["slow.gif"] == pytest.approx(motion["same.mp4"], abs=0.1)
    assert motion["back.mp4"] < 0.5
    assert [getattr(event, "text", "") for event in events] == [
        "`slow.gif` lasts 4.0 s and the reference 2.0 s: each is compared from start to end"
    ]
    (ceiling,) = rows_of(found, "ceiling").values()
    reversed_clip, still = rows_of(found, "floor").values()
    assert (ceiling.motion or 0) > 0.95
    assert (reversed_clip.motion or 1) < 0.5
    assert (still.motion, still.flicker) == (0, 1)
    assert len(videos["same.mp4"].curves["object"]["x"]) == 16
    with Image.open(report) as picture:
        assert min(picture.size) > 1000


@pytest.mark.slow
def test_a_motion_stands_for_its_preview_and_for_the_clip_it_was_learned_from(tmp_path: Path) -> None:
    clips = {
        "reference.mp4": film(tmp_path / "ref.mp4", subject="rocket", colour="blue"),
        "preview.mp4": film(tmp_path / "preview.mp4", "figure eight", "lantern", "white"),
    }
    put_motion(tmp_path / "elsewhere", "circle", videos=clips)
    workspace = Workspace(tmp_path / "elsewhere")
    preview, made, *_ = found = cavtool.evaluate(["circle", film(tmp_path / "made.mp4")], workspace=workspace)
    assert [preview.name, made.name] == ["circle", "made.mp4"]
    assert {each.reference for each in found} == {"reference of circle"}
    assert (preview.motion or 0) < 0.5
    assert (made.motion or 0) > 0.8
    assert preview.prompt == "a white lantern twirls on the moon"
    assert preview.text == pytest.approx(2 / 3)  # in the forest
    assert preview.text_by == "judge of cav-mini"


def test_other_videos_need_clip_and_share_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/nonexistent")
    events: list[Event] = []
    files = [film(tmp_path / "a.mp4"), film(tmp_path / "b.mp4", subject="rocket", colour="blue")]
    found = evaluate(files, prompt="a red cat", on_event=events.append)
    assert [each.text for each in found] == [None, None]
    assert len({each.diversity for each in found}) == 1
    assert 0.05 < (found[0].diversity or 0) < 1
    (warning,) = events
    assert "`hf download" in getattr(warning, "text", "")


def test_the_prompt_of_an_edited_video_is_read_too(tmp_path: Path) -> None:
    frames = world.render(world.reference("circle", "cat", "red", "forest"))
    edited = {"edit": {"prompt": "a red cat in the forest", "model": "cav-mini"}}
    video.encode(frames, tmp_path / "edited.mp4", fps=8, recipe=edited)
    (found,) = evaluate([tmp_path / "edited.mp4"])
    assert (found.prompt, found.text_by) == ("a red cat in the forest", "judge of cav-mini")
    assert evaluate([tmp_path / "edited.mp4"], prompt=" ")[0].prompt == found.prompt, "a blank prompt is none"


def test_a_report_is_refused_before_any_work(tmp_path: Path) -> None:
    clip, report = film(tmp_path / "a.mp4"), tmp_path / "report.png"
    report.touch()
    with pytest.raises(Conflict, match="exists"):
        evaluate([clip], report=report)
    with pytest.raises(InvalidInput, match="report is a picture"):
        evaluate([clip], report=tmp_path / "report.jpg")


def test_a_motion_without_clips_is_refused(home: Path, tmp_path: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    with pytest.raises(NotFound, match="`twirl` has no preview") as caught:
        evaluate(["twirl"])
    assert "`cav eval FILE --reference VIDEO`" in str(caught.value.hint)
    with pytest.raises(NotFound, match="no motion named `twirl-look`"):
        evaluate(["twirl-look"])
    with pytest.raises(NotFound, match="no motion and no file") as refused:
        evaluate(["twril"])
    assert refused.value.hint == "did you mean `twirl`?"


def test_a_reference_in_which_nothing_moves_is_refused(tmp_path: Path) -> None:
    still = np.repeat(world.render(world.Scene("cat", "red", "forest"), 1), 16, axis=0)
    video.encode(still, tmp_path / "still.mp4", fps=8)
    with pytest.raises(MediaError, match=r"nothing moves in the reference `still\.mp4`"):
        evaluate([film(tmp_path / "a.mp4")], reference=tmp_path / "still.mp4")


def test_a_video_in_which_every_track_breaks_off_is_measured_in_all_other_ways(tmp_path: Path) -> None:
    frames = world.render(world.reference("circle", "cat", "red", "forest"))
    for name, odd in (("clip", 255 - frames[1::2]), ("reference", frames[1::2])):
        video.encode(np.stack([frames[::2], odd], axis=1).reshape(frames.shape), tmp_path / f"{name}.mp4", fps=8)
    for target, reference in (("clip", "reference"), ("reference", "clip")):
        scores, *_ = evaluate([tmp_path / f"{target}.mp4"], reference=tmp_path / f"{reference}.mp4")
        assert (scores.motion, scores.objects, scores.camera) == (None, None, None)
        assert scores.pattern is not None
        assert scores.flicker < 1
