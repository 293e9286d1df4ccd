import json
import shutil
from pathlib import Path

import pytest

from cavtool.errors import IntegrityFailure, InvalidInput, NotFound
from cavtool.models import CATALOGUE, DESCRIPTION, Model, Models, NativeClip, find_model, write_description


@pytest.fixture
def copied(modelscope: Path, tmp_path: Path) -> Path:
    """A copy of the small ModelScope model, to be changed."""
    return Path(shutil.copytree(modelscope, tmp_path / "copied"))


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("an upside down ironman moves left at night", []),
        ("A red cat zorps, zorps in the Blorp", ["zorps", "blorp"]),
        ("a man of 7 stands now", ["man", "of", "7", "now"]),  # parts of known words, and single characters
        ("", []),
    ],
)
def test_unknown_words_are_listed_once_and_in_order(prompt: str, unknown: list[str]) -> None:
    assert find_model("cav-mini").unknown_words(prompt) == unknown


def test_a_folder_is_found_from_every_working_directory_and_has_no_unknown_words(
    modelscope: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(modelscope.parent)
    model = find_model("./modelscope")
    monkeypatch.chdir(tmp_path)
    assert find_model(model.address) == find_model(str(modelscope)) == model
    assert model.unknown_words("zorps") == []
    assert find_model("cav-mini").address == "cav-mini"


def test_cav_mini_by_its_folder_is_cav_mini_by_its_name(tmp_path: Path) -> None:
    named = find_model("cav-mini")
    assert find_model(str(named.folder)) == named
    copied = find_model(str(shutil.copytree(named.folder, tmp_path / "elsewhere")))
    assert named.clip == copied.clip == NativeClip(16, 8.0, 64, 64, multiple=16)
    assert named.enlarge == copied.enlarge == 4
    assert named.unknown_words("a zorp") == copied.unknown_words("a zorp") == ["zorp"]
    assert (named.fingerprint, named.revision) == (copied.fingerprint, copied.revision)


def test_a_folder_with_the_name_of_a_known_model_is_another_model(tmp_path: Path, modelscope: Path) -> None:
    shutil.copytree(modelscope, tmp_path / "mine" / "cav-mini")
    model = find_model(str(tmp_path / "mine" / "cav-mini"))
    assert find_model(model.address) == model != find_model("cav-mini")


@pytest.mark.parametrize("name", ["cav-mimi", "~nobody-of-that-name/model", "/no/such/folder", "/no/such/folder" * 30])
def test_no_such_model(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        find_model(name)
    with pytest.raises(NotFound):
        Models(tmp_path).find(name)


@pytest.mark.parametrize("name", ["", "null\0character", "x" * 300, "/long" * 1000, "é" * 1000])
def test_what_no_file_can_be_called_is_no_model(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="base model"):
        Models(tmp_path).find(name)


@pytest.mark.parametrize(("sample_size", "size"), [(8, (64, 64)), ([5, 9], (72, 40)), (None, (256, 256))])
def test_the_native_size_is_that_of_the_unet_and_the_vae(
    copied: Path, sample_size: object, size: tuple[int, int]
) -> None:
    change(copied / "unet" / "config.json", sample_size=sample_size)
    clip = Model("copied", copied).clip
    assert (clip.width, clip.height) == size
    assert (clip.num_frames, clip.fps, clip.seconds) == (16, 8.0, 2.0)


def test_a_folder_describes_its_clips_and_words(copied: Path) -> None:
    (copied / "words.json").write_text('["a", "cat"]')
    model = Model("copied", copied)
    assert model.enlarge == 1
    assert model.unknown_words("a red cat") == ["red"]
    write_description(copied, num_frames=24, fps=12, enlarge=2, words=["red"])
    model = Model("copied", copied)
    assert (model.clip.num_frames, model.clip.fps, model.enlarge) == (24, 12.0, 2)
    assert model.unknown_words("a red cat") == ["a", "cat"]
    (copied / DESCRIPTION).write_text('{"fps": 4}')
    model = Model("copied", copied)
    assert (model.clip.num_frames, model.clip.fps, model.enlarge) == (16, 4.0, 1)
    assert model.unknown_words("a red cat") == []


def test_how_a_model_is_used_comes_from_its_folder_then_the_catalogue_then_its_family(
    copied: Path, animatediff: Path
) -> None:
    mini = find_model("cav-mini").native
    assert (mini.steps, mini.guidance, mini.noise_from) == (25, 3.0, 0.5)
    assert (Model("m", copied).native.steps, Model("a", animatediff).native.guidance) == (40, 7.5)
    entry = CATALOGUE["zeroscope"]
    assert Model("zeroscope", copied, entry=entry).native == entry.native
    (copied / DESCRIPTION).write_text('{"fps": 12, "steps": 7, "guidance": 0, "noise_from": 0}')
    native = Model("zeroscope", copied, entry=entry).native
    assert (native.clip.fps, native.clip.width, native.clip.num_frames) == (12.0, 576, 24)
    assert (native.steps, native.guidance, native.noise_from) == (7, 0.0, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"noise_from": 1}',
        '{"steps": 0}',
        "[]",
        '{"fps": 0}',
        '{"fps": Infinity}',
        '{"num_frames": 1.5}',
        '{"enlarge": "4"}',
        '{"words": 1}',
    ],
)
def test_a_damaged_description_is_refused(copied: Path, text: str) -> None:
    (copied / DESCRIPTION).write_text(text)
    with pytest.raises(IntegrityFailure, match=DESCRIPTION):
        _ = Model("copied", copied).clip


def test_a_folder_without_readable_configs_or_weights_is_refused(copied: Path) -> None:
    (copied / "vae" / "config.json").write_text("{}")
    with pytest.raises(IntegrityFailure, match="vae"):
        _ = Model("copied", copied).clip
    (copied / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(IntegrityFailure, match="no safetensors weights"):
        _ = Model("copied", copied).fingerprint


def test_the_fingerprint_is_of_the_architecture_and_the_revision_of_the_weights(
    tmp_path: Path, modelscope: Path
) -> None:
    from tests.small_models import save_modelscope

    first = find_model(str(modelscope))
    reseeded = find_model(str(save_modelscope(tmp_path / "reseeded", seed=1)))
    wider = find_model(str(save_modelscope(tmp_path / "wider", width=64)))
    assert (first.fingerprint, first.revision) != (wider.fingerprint, wider.revision)
    assert first.fingerprint == reseeded.fingerprint
    assert first.revision != reseeded.revision


def test_sharded_and_fp16_weights_have_the_fingerprint_of_the_whole(modelscope: Path, tmp_path: Path) -> None:
    from cavtool.core.backbones import open_backbone
    from tests.small_models import save_fp16, save_sharded

    backbone, whole = open_backbone(modelscope, device="cpu", dtype="fp32"), Model("whole", modelscope)
    for save in (save_sharded, save_fp16):
        other = find_model(str(save(backbone, modelscope, tmp_path / save.__name__)))
        assert not (other.folder / "unet" / "diffusion_pytorch_model.safetensors").exists()
        assert other.fingerprint == whole.fingerprint
        assert len(other.revision) == 12
        assert other.revision != whole.revision


def test_a_model_of_the_catalogue_has_a_folder_or_a_repository() -> None:
    for entry in CATALOGUE.values():
        assert bool(entry.source) != bool(entry.folder and (entry.folder / "model_index.json").exists())
    with pytest.raises(NotFound, match="cav-maxi") as caught:
        find_model("cav-maxi")
    assert "cav-mini" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("video", "size"),
    [((1000, 1000), (256, 256)), ((1920, 1080), (320, 192)), ((1080, 1920), (192, 320)), ((640, 480), (256, 192))],
)
def test_a_size_like_that_of_a_video_has_about_its_aspect_ratio_and_the_model_s_area(
    video: tuple[int, int], size: tuple[int, int]
) -> None:
    assert NativeClip(16, 8.0, 256, 256, multiple=64).size_like(*video) == size
