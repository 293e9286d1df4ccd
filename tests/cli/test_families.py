"""A user's way from a video to an evaluated edit, with a small random model of every family and folder layout."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from cavtool import video
from cavtool.models import CATALOGUE, DESCRIPTION
from cavtool.workspace import Workspace
from tests.cli.conftest import Cav
from tests.cli.test_models import pickled

SHORT = ("--steps", "1", "--rank", "2", "--prompt", "a lantern twirls")
QUICK = ("--dtype", "fp32", *SHORT)


def described(folder: Path, num_frames: int, size: int | None = None) -> Path:
    """The folder, with two seconds of few frames and one sampling step."""
    values = {"num_frames": num_frames, "fps": num_frames / 2, "steps": 1, "guidance": 2.0}
    (folder / DESCRIPTION).write_text(json.dumps(values | ({"width": size, "height": size} if size else {})))
    return folder


def modelscope(folder: Path) -> list[str]:
    from tests.small_models import save_modelscope

    return [str(described(save_modelscope(folder, sample_size=4), 8))]


def zeroscope(folder: Path) -> list[str]:
    """Frames that are wider than high, and pickled weights, as they are on the Hub."""
    from tests.small_models import save_modelscope

    pickled(described(save_modelscope(folder, sample_size=4), 8))
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sample_size": [4, 8]}))
    return [str(folder)]


def animatediff(folder: Path) -> list[str]:
    """A motion adapter and an image model, as they are on the Hub."""
    from tests.small_models import save_animatediff, save_animatediff_in_two_parts, save_image_model

    whole = save_animatediff(folder / "whole")
    shutil.move(save_animatediff_in_two_parts(folder / "two", whole) / "motion_adapter", folder / "adapter")
    image = described(save_image_model(folder / "image", whole), 8)
    config = image / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sample_size": 4}))
    return [str(folder / "adapter"), "--base", str(image)]


def wan(kind: str) -> Callable[[Path], list[str]]:
    from tests.small_models import save_wan

    return lambda folder: [str(described(save_wan(folder, kind), 17, 64 if kind == "5b" else 32))]


FAMILIES = {
    "modelscope": modelscope,
    "zeroscope": zeroscope,
    "animatediff": animatediff,
    "wan2.1": wan("2.1"),
    "wan2.2-a14b": wan("a14b"),
    "wan2.2-5b": wan("5b"),
}


@pytest.mark.slow
@pytest.mark.usefixtures("quick_preview")
@pytest.mark.parametrize("family", FAMILIES)
def test_learn_generate_mix_edit_and_eval(
    family: str, cav: Cav, circle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def done(*arguments: str) -> str:
        result = cav(*arguments, "--quiet")
        assert result.returncode == 0, result
        return result.stdout

    monkeypatch.chdir(tmp_path)
    done("models", "add", "small", *FAMILIES[family](tmp_path / "small"))
    done("models", "use", "small")
    done(
        "learn",
        "spin",
        str(circle),
        *QUICK,
        "--absorber-steps",
        "1",
        "--batch-size",
        "4" if family == "wan2.2-a14b" else "1",
    )
    done("learn", "sway", str(circle), *QUICK, "--absorber", "spin-look", "--seed", "1")
    done("mix", "both", "spin:20", "sway:0.5")
    plain, moved = (
        done("generate", "a red cat", "--seed", "1", "-o", name, *motion).strip()
        for name, motion in (("plain.mp4", ()), ("moved.mp4", ("--motion", "both")))
    )
    assert Path(plain).read_bytes() != Path(moved).read_bytes()
    done("absorb", "look", str(circle), "--for-style", *SHORT, "--kind", "s-lora")
    styled = done("generate", "a red cat", "--seed", "1", "-o", "styled.mp4", "--style", "look:50").strip()
    assert Path(plain).read_bytes() != Path(styled).read_bytes()
    edited = done("edit", str(circle), "a red cat", "--motion", "spin", "--steps", "1", "-o", "edited.mp4").strip()
    source, result = video.probe(circle), video.probe(Path(edited))
    assert (result.width, result.height, result.num_frames) == (source.width, source.height, source.num_frames)
    scores = json.loads(done("eval", str(circle), "--reference", "spin", "--json"))["data"]["videos"]
    assert scores[0]["motion"] > 0.5  # frames of noise, which small models make, have no tracks
    check_weights(family)


def check_weights(family: str) -> None:
    """The motion changes every denoiser of the model with the model's own share of the timesteps."""
    registry = Workspace().registry
    for name in ("spin", "both"):
        state = load_file(registry.get(name).weights)
        trained = {key.partition(".")[0] for key, value in state.items() if "lora_B" in key and value.any()}
        two = {"transformer", "transformer_2"} if family == "wan2.2-a14b" else {"transformer"}
        assert trained == (two if family.startswith("wan") else {"unet"})
    assert registry.get("spin").record.recipe["noise_from"] == (0.35 if family.startswith("wan") else 0.5)


WAN = CATALOGUE["wan-1.3b"].source


@pytest.mark.parametrize(
    ("source", "choice", "message", "hint"),
    [
        ((WAN,), ("--frames", "48"), "cannot make clips of 48 frames: it needs 4n + 1", "use 49 frames"),
        ((WAN,), ("--size", "480x270"), "cannot make frames of 480x270: sides must be multiples of 16", "use 480x272"),
        ((WAN,), ("--size", "480"), "`480` is not a size", "write `--size 480x272`"),
        (("MODELSCOPE",), ("--size", "100x64"), "sides must be multiples of 8", "use 96x64"),
        (("ANIMATEDIFF",), ("--frames", "33"), "cannot make clips of 33 frames: it needs at most 32", "use 32 frames"),
    ],
)
def test_clips_that_a_model_cannot_make_are_refused_with_the_nearest(
    cav: Cav,
    modelscope: Path,
    animatediff: Path,
    source: tuple[str, ...],
    choice: tuple[str, ...],
    message: str,
    hint: str,
) -> None:
    folders = {"MODELSCOPE": modelscope, "ANIMATEDIFF": animatediff}
    done = cav("models", "add", "other", *(str(folders.get(each, each)) for each in source), *choice)
    assert done.returncode in {1, 2}
    assert message in done.stderr
    assert f"hint: {hint}" in done.stderr
    assert "other" not in cav("models", "list").stdout


def test_a_model_has_the_clips_that_were_chosen(cav: Cav, modelscope: Path, tmp_path: Path) -> None:
    assert cav("models", "add", "wan-small", WAN, "--frames", "17", "--size", "480x272").returncode == 0
    shown = cav("models", "show", "wan-small").stdout
    assert "17 to 81 frames of 480x272, 16 fps" in shown
    assert "4n + 1 frames, sides in steps of 16 pixels" in shown
    assert cav("models", "add", "wide", str(modelscope), "--frames", "4", "--size", "96x32").returncode == 0
    made = cav("generate", "a cat", "--model", "wide", "--steps", "1", "-o", str(tmp_path / "made.mp4")).stdout.strip()
    media = video.probe(Path(made))
    assert (media.num_frames, media.width, media.height) == (4, 96, 32)
