"""Model folders and files that cannot be used: one line that says what they are, and a hint."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.cli.conftest import Cav
from tests.cli.test_models import UNET, change, pickled

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def two_experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Wan 2.2 A14B."""
    from tests.small_models import save_wan

    return save_wan(tmp_path_factory.mktemp("wan") / "a14b", "a14b")


def without(part: str) -> Damage:
    return lambda folder: shutil.rmtree(folder / part) if (folder / part).is_dir() else (folder / part).unlink()


def saying(file: str, **values: object) -> Damage:
    return lambda folder: change(folder / file, **values)


def one_shard_of_two(folder: Path) -> None:
    shutil.move(folder / UNET, folder / "unet" / "diffusion_pytorch_model-00001-of-00002.safetensors")
    names = {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}
    names["b"] = names["a"].replace("1-of", "2-of")
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def with_an_unknown_layer(folder: Path) -> None:
    """As a later version of the library could save the same class."""
    save_file(load_file(folder / UNET) | {"gate.weight": load_file(folder / UNET)["conv_in.bias"]}, folder / UNET)
    change(folder / "unet" / "config.json", _diffusers_version="99.1.0")


def with_long_clips(folder: Path) -> None:
    (folder / "cav.json").write_text('{"num_frames": 40}')


CASES: list[tuple[str, Damage, int, str, str]] = [
    (
        "modelscope",
        saying("model_index.json", _class_name="I2VGenXLPipeline"),
        1,
        "is an image-to-video model",
        "text-to",
    ),
    ("a14b", saying("transformer/config.json", in_channels=36), 1, "is an image-to-video model", "text-to-video"),
    ("modelscope", saying("unet/config.json", _class_name="UNet2DConditionModel"), 1, "is an image model", "--base"),
    ("modelscope", saying("unet/config.json", _class_name="FluxTransformer2DModel"), 1, "its denoiser is a", "Wan"),
    ("modelscope", saying("unet/config.json", _class_name="N", _diffusers_version="99.1"), 1, "is newer than", "pip"),
    ("modelscope", with_an_unknown_layer, 1, "newer than the library: it has a `gate.weight`", "diffusers 99.1.0"),
    ("modelscope", without("tokenizer"), 5, "is not complete: it has no `tokenizer`", "download it again"),
    ("modelscope", without("scheduler"), 5, "is not complete: it has no `scheduler`", "download it again"),
    ("modelscope", without("text_encoder"), 5, "is not complete: it has no `text_encoder`", "download it again"),
    ("modelscope", one_shard_of_two, 5, "is not complete: weights of its `unet` are missing", "download it again"),
    ("animatediff", with_long_clips, 1, "cannot make clips of 40 frames: it needs at most 32", "use 32 frames"),
    ("a14b", without("transformer_2"), 5, "is not complete: it has no `transformer_2`", "download it again"),
    ("a14b", without("model_index.json"), 5, "is not complete: it has no `model_index.json`", "download it again"),
    (
        "a14b",
        saying("transformer/config.json", num_layers=3),
        5,
        "weights for its `blocks.2.attn1",
        "download it again",
    ),
]


@pytest.mark.parametrize(("model", "damage", "code", "message", "hint"), CASES)
def test_a_folder_that_cannot_be_used(
    cav: Cav,
    modelscope: Path,
    animatediff: Path,
    two_experts: Path,
    tmp_path: Path,
    model: str,
    damage: Damage,
    code: int,
    message: str,
    hint: str,
) -> None:
    original = {"modelscope": modelscope, "animatediff": animatediff, "a14b": two_experts}[model]
    folder = Path(shutil.copytree(original, tmp_path / "given"))
    damage(folder)
    done = cav("generate", "a cat", "--model", str(folder), "--steps", "1", "-o", str(tmp_path / "made.mp4"), "-q")
    assert done.returncode == code, done.stderr
    error, line = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert line.startswith("hint: ")
    assert hint in line
    assert not (tmp_path / "made.mp4").exists()


def test_a_lora_is_no_base_model(cav: Cav, tmp_path: Path, modelscope: Path) -> None:
    pair = load_file(modelscope / UNET)["conv_in.bias"]
    save_file({"unet.mid_block.lora_A.weight": pair, "b": pair + 1}, tmp_path / "style.safetensors")
    for command in (("generate", "a cat", "--model"), ("models", "add", "mine")):
        done = cav(*command, str(tmp_path / "style.safetensors"))
        assert done.returncode == 1
        assert done.stderr.startswith("error: `style.safetensors` is a LoRA, not a base model\nhint: `cav generate")


def test_a_disk_that_is_full_while_weights_are_converted_keeps_nothing(
    cav: Cav, modelscope: Path, home: Path, tmp_path: Path
) -> None:
    folder = pickled(Path(shutil.copytree(modelscope, tmp_path / "copied")))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        done = cav("models", "add", "pickled", str(folder), "--quiet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == 6
    assert done.stderr.startswith(f"error: cannot write to `{home / 'cache' / 'models'}`: ")
    assert "File too large" in done.stderr
    assert not list((home / "cache" / "models").iterdir())
    assert not (home / "data" / "models").exists()
