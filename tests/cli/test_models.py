"""`cav models`: names for folders and repositories, and downloading from a Hub on this machine."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from cavtool.models.catalogue import CATALOGUE, SD15
from cavtool.workspace import Workspace
from tests.cli.conftest import Cav, OnTerminal
from tests.hub import COMMIT, Hub, serve

SCOPE = CATALOGUE["modelscope"].source
ADAPTER = CATALOGUE["animatediff"].adapter
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub, and an empty cache for it."""
    hub = Hub()
    server = serve(hub)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def copied(modelscope: Path, tmp_path: Path) -> Path:
    """A copy of the small ModelScope, to be changed."""
    return Path(shutil.copytree(modelscope, tmp_path / "copied"))


@pytest.fixture
def image_model(animatediff: Path, tmp_path: Path) -> Path:
    """The image model in the small AnimateDiff; the motion adapter is in the folder `adapter` beside it."""
    from tests.small_models import save_animatediff_in_two_parts, save_image_model

    two = save_animatediff_in_two_parts(tmp_path / "two", animatediff)
    shutil.move(two / "motion_adapter", tmp_path / "adapter")
    return save_image_model(tmp_path / "image", animatediff)


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def pickled(folder: Path) -> Path:
    """The pipeline with .bin files in place of safetensors, in the form of those on the Hub."""
    from tests.small_models import text_key

    for file in folder.rglob("*.safetensors"):
        is_text = file.parent.name == "text_encoder"
        name = "pytorch_model.bin" if is_text else "diffusion_pytorch_model.bin"
        state = {text_key(key) if is_text else key: value for key, value in load_file(file).items()}
        torch.save(state, file.with_name(name))
        file.unlink()
    return folder


def states(cav: Cav) -> dict[str, str]:
    return {model["name"]: model["state"] for model in json.loads(cav("models", "list", "--json").stdout)}


def test_a_folder_gets_a_name_that_commands_take(cav: Cav, modelscope: Path, home: Path) -> None:
    assert cav("models", "add", "dance", str(modelscope)).stdout == "dance\n"
    table = tomllib.loads((home / "data" / "models" / "dance.toml").read_text())
    assert (table["source"], table["family"]) == (str(modelscope), "unet3d")
    assert states(cav)["dance"] == "added"
    assert cav("models", "show", "dance", "--path").stdout == f"{modelscope}\n"
    assert "16 frames of 64x64, 8 fps" in cav("models", "show", "dance").stdout
    assert cav("models", "use", "dance").stdout == "dance\n"
    assert cav("config", "get", "model").stdout == "dance\n"
    assert cav("models", "add", "dance", str(modelscope)).returncode == 4
    assert cav("models", "rm", "dance").stderr.startswith("error: `cav models rm` asks for confirmation")
    assert cav("models", "rm", "dance", "--dry-run").stdout == "dance\n"
    assert "dance" in states(cav)
    done = cav("models", "rm", "dance", "--yes")
    assert done == (0, "dance\n", "note: the default model is `cav-mini` again\n")
    assert "dance" not in states(cav)
    assert modelscope.exists()


def test_the_catalogue_says_what_a_model_needs_and_may_be_used_for(cav: Cav) -> None:
    shown = cav("models", "show", "zeroscope").stdout
    assert "CC-BY-NC-4.0 (not for commercial use)" in shown
    assert "24 frames of 576x320, 8 fps" in shown
    assert "estimates" in shown
    wan = cav("models", "show", "wan-1.3b").stdout
    assert "33 to 81 frames of 832x480, 16 fps" in wan
    assert "4n + 1 frames, sides in steps of 16 pixels" in wan
    assert "whether its motions leave out the reference's appearance has not been measured" in wan
    assert "32 frames or fewer" in cav("models", "show", "animatediff").stdout
    assert "has not been measured" not in shown
    assert "64.0 GB" in cav("doctor", "--plan", "learn", "--model", "zeroscope").stdout


def test_a_plan_counts_the_weights_of_a_folder(cav: Cav, modelscope: Path) -> None:
    done = cav("doctor", "--plan", "generate", "--model", str(modelscope), "--json")
    rows = {row["part"]: row for row in json.loads(done.stdout)}
    size = sum(tensor.numel() for tensor in load_file(modelscope / UNET).values())
    assert rows["unet"]["fp32_gb"] == pytest.approx(4 * size / 1e9)
    assert rows["total (estimate)"]["bf16_gb"] > rows["unet"]["bf16_gb"]


def test_pull_continues_a_broken_download_and_takes_only_what_is_needed(
    cav: Cav, hub: Hub, copied: Path, home: Path
) -> None:
    for extra in ("README.md", "unet/diffusion_pytorch_model.bin", "zs2_XL/text2video_pytorch_model.pth"):
        (copied / extra).parent.mkdir(exist_ok=True)
        (copied / extra).write_bytes(b"unneeded")
    hub.folders[SCOPE], hub.cut[UNET] = copied, 10_700_000
    assert cav("generate", "a cat", "--model", "modelscope") == (
        6,
        "",
        "error: `modelscope` is not on this machine\nhint: download it: `cav models pull modelscope`\n",
    )
    done = cav("models", "pull", "modelscope", "--json")
    *events, result = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, result["data"]["commit"]) == (0, COMMIT)
    licence = CATALOGUE["modelscope"].licence
    warning = f"`modelscope` is licensed under {licence}: not for commercial use"
    assert {"event": "warning", "text": warning} in events
    assert [first for path, first in hub.sent if path == UNET] == [0, constants.DOWNLOAD_CHUNK_SIZE]
    assert done.stderr == ""
    assert not hub.paths_sent() & {
        "README.md",
        "unet/diffusion_pytorch_model.bin",
        "zs2_XL/text2video_pytorch_model.pth",
    }
    transfers = [event for event in events if event["event"] == "transfer"]
    assert transfers[-1]["done"] == transfers[-1]["total"] > (copied / UNET).stat().st_size
    assert tomllib.loads((home / "data" / "models" / "modelscope.toml").read_text())["commit"] == COMMIT
    assert states(cav)["modelscope"] == "pulled"
    model = Workspace().models.find(SCOPE)
    assert (model.address, model.commit) == ("modelscope", COMMIT)
    assert (model.folder / UNET).read_bytes() == (copied / UNET).read_bytes()

    num_sent = len(hub.sent)
    assert cav("models", "pull", "modelscope").returncode == 0
    assert len(hub.sent) == num_sent
    assert cav("models", "rm", "modelscope", "--yes").returncode == 0
    assert states(cav)["modelscope"] == "not pulled"
    assert not model.folder.exists()


def test_pickled_weights_are_converted_once(cav: Cav, hub: Hub, copied: Path, modelscope: Path) -> None:
    hub.folders["someone/zeroscope"] = pickled(copied)
    assert cav("models", "pull", "someone/zeroscope", "--quiet").stderr == ""
    model, original = Workspace().models.find("someone/zeroscope"), Workspace().models.find(str(modelscope))
    assert model.fingerprint == original.fingerprint
    assert not list(model.folder.rglob("*.bin"))
    from cavtool.core.backbones import open_backbone

    opened, expected = (open_backbone(folder, device="cpu") for folder in (model.folder, modelscope))
    assert torch.equal(opened.encode_text(["a red cat"]), expected.encode_text(["a red cat"]))


class Evil:
    """Runs code when it is unpickled carelessly."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch evil",)


def test_a_pickle_that_would_run_code_is_refused_and_nothing_is_kept(
    cav: Cav, copied: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (pickled(copied) / "vae" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({"a": Evil()}))
    done = cav("models", "add", "evil", str(copied), "--quiet")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: refused to load the pickle `diffusion_pytorch_model.bin`: not only tensors\n")
    assert not (tmp_path / "evil").exists()
    assert "evil" not in states(cav)
    assert not list((home / "cache" / "models").iterdir())


def test_animatediff_is_put_together_from_two_repositories(
    cav: Cav, hub: Hub, image_model: Path, animatediff: Path, tmp_path: Path
) -> None:
    adapter, models = tmp_path / "adapter", Workspace().models
    hub.folders |= {ADAPTER: adapter, SD15: image_model}
    done = cav("models", "pull", "animatediff")
    assert (done.returncode, f"\n{ADAPTER}  0/" in done.stderr) == (0, True)
    model = models.find("animatediff")
    assert model.fingerprint == models.find(str(animatediff)).fingerprint
    schedule = json.loads((model.folder / "scheduler" / "scheduler_config.json").read_text())
    expected = {"beta_schedule": "linear", "clip_sample": False, "timestep_spacing": "linspace", "steps_offset": 1}
    assert schedule.items() >= (expected | {"beta_start": 0.00085, "beta_end": 0.012}).items()
    done = cav("models", "add", "toon", str(adapter), "--base", str(image_model))
    assert (done.returncode, done.stderr) == (0, "")
    assert models.find("toon").fingerprint == model.fingerprint
    change(adapter / "config.json", block_out_channels=[32, 64])
    done = cav("models", "add", "wrong", str(adapter), "--base", str(image_model))
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "error: the motion adapter does not fit the image model",
    )
    assert cav("models", "add", "still", str(adapter)).stderr.startswith("error: `adapter` is a motion adapter")


def test_animatediff_takes_a_single_file_as_its_image_model(
    cav: Cav, hub: Hub, image_model: Path, tmp_path: Path
) -> None:
    from tests.small_models import save_checkpoint

    file = save_checkpoint(image_model, tmp_path / "toon.safetensors")
    hub.folders |= {ADAPTER: tmp_path / "adapter", SD15: image_model}
    assert cav("models", "pull", "animatediff", "--base", str(file), "--quiet").stderr == ""
    folder = Workspace().models.find("animatediff").folder
    converted, original = (load_file(each / UNET) for each in (folder, image_model))
    assert converted.keys() == original.keys()
    assert all(torch.equal(converted[key], original[key].half()) for key in original)
    assert not any(path.startswith("unet/") and path.endswith(".safetensors") for path in hub.paths_sent())
    file.write_bytes((image_model / "vae" / "diffusion_pytorch_model.safetensors").read_bytes())
    done = cav("models", "pull", "animatediff", "--base", str(file), "--quiet")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        5,
        "error: `toon.safetensors` is not a Stable Diffusion 1.5 checkpoint",
    )
    assert Workspace().models.find("animatediff").folder == folder


@pytest.mark.parametrize(
    ("name", "code", "message", "hint"),
    [
        ("cerspense/zeroscope_v2_576", 3, "no model `cerspense/zeroscope_v2_576` on the Hub", "zeroscope_v2_576w`?"),
        ("zeroscop", 3, "no model `zeroscop`", "did you mean `zeroscope`?"),
        ("cav-mini", 2, "`cav-mini` comes with `cav`: there is nothing to pull", ""),
        ("some/gated", 6, "`some/gated` asks you to accept its terms first", "https://huggingface.co/some/gated"),
        ("some/i2v", 1, "`some/i2v` is an image-to-video model (WanImageToVideoPipeline)", "text-to-video model"),
        ("some/image", 1, "`some/image` is an image model without motion modules", "--base some/image"),
        ("some/newer", 1, "`some/newer` is newer than the library: saved by diffusers 99.0.0", "pip install -U"),
        ("some/other", 1, "cannot use `some/other`: its denoiser is a CogVideoXTransformer3DModel", "supported"),
        ("some/text", 5, "`some/text` is not a complete diffusers pipeline folder", "model_index.json"),
    ],
)
def test_what_cannot_be_pulled(
    cav: Cav, hub: Hub, copied: Path, tmp_path: Path, name: str, code: int, message: str, hint: str
) -> None:
    changes = {
        "some/gated": ("unet/config.json", {}),
        "some/i2v": ("model_index.json", {"_class_name": "WanImageToVideoPipeline"}),
        "some/image": ("unet/config.json", {"_class_name": "UNet2DConditionModel"}),
        "some/newer": ("unet/config.json", {"_class_name": "UNet9D", "_diffusers_version": "99.0.0"}),
        "some/other": ("unet/config.json", {"_class_name": "CogVideoXTransformer3DModel"}),
    }
    if name in changes:
        file, values = changes[name]
        change(copied / file, **values)
        hub.folders[name] = copied
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "README.md").write_text("hello")
    hub.folders["some/text"] = tmp_path / "text"
    hub.gated.add("some/gated")
    done = cav("models", "pull", name, "--quiet")
    assert done.returncode == code
    assert f"error: {message}" in done.stderr
    assert hint in done.stderr
    assert len(done.stderr.splitlines()) == 1 + ("hint:" in done.stderr)
    assert not any(path.endswith(".safetensors") for path in hub.paths_sent())
    assert states(cav).keys() == CATALOGUE.keys()
    assert not list(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots"))


def test_a_failing_or_unreachable_hub_leaves_nothing(
    cav: Cav, hub: Hub, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.folders[SCOPE] = copied
    hub.failing = True
    done = cav("models", "pull", "modelscope", "-q")
    assert (done.returncode, "error: the Hub answered 500" in done.stderr) == (6, True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    done = cav("models", "pull", "modelscope", "-q")
    assert (done.returncode, f"error: cannot reach the Hub for `{SCOPE}`\n" in done.stderr) == (6, True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = cav("models", "pull", "modelscope", "-q")
    assert (done.returncode, "`HF_HUB_OFFLINE` is set" in done.stderr) == (6, True)
    assert states(cav)["modelscope"] == "not pulled"


def test_a_full_disk_keeps_no_partial_file(
    environment: dict[str, str], hub: Hub, copied: Path, tmp_path: Path, home: Path
) -> None:
    hub.folders[SCOPE] = copied
    variables = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0"}
    line = f"ulimit -f 200; exec {sys.executable} -m cavtool models pull modelscope --quiet"  # no file above 200 kB
    done = subprocess.run(
        ["sh", "-c", line], env={**environment, **variables}, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (6, "")
    assert "error: cannot write to the Hub's cache: File too large\nhint: free some space" in done.stderr
    assert not [file for file in (tmp_path / "hub").rglob("*") if "incomplete" in file.name]
    assert not (home / "data" / "models").exists()


def test_a_terminal_shows_the_progress_and_asks_before_removal(
    cav_on_terminal: OnTerminal, hub: Hub, copied: Path, tmp_path: Path
) -> None:
    hub.folders[SCOPE] = copied
    variables = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0"}
    screen, code = cav_on_terminal("models", "pull", "modelscope", env=variables)
    assert code == 0
    assert f"{SCOPE} " in screen
    size = sum(file.stat().st_size for file in copied.rglob("*.*")) / 1e6
    assert f"{size:.0f}/{size:.0f} MB" in screen
    screen, code = cav_on_terminal("models", "rm", "modelscope", typed="n", env=variables)
    assert (code, "nothing was removed" in screen) == (1, True)
    assert Workspace().models.pointer("modelscope")


def test_a_download_larger_than_the_disk_is_not_begun(
    cav: Cav, hub: Hub, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.folders[SCOPE] = copied
    with (copied / UNET).open("r+b") as file:
        file.truncate(10**13)  # sparse
    done = cav("models", "pull", "modelscope", "-q")
    assert (done.returncode, "the download needs 10000." in done.stderr) == (6, True)


def test_folders_and_files_that_are_no_model(cav: Cav, copied: Path, tmp_path: Path) -> None:
    def error_of(path: Path) -> tuple[int, str]:
        done = cav("generate", "a cat", "--model", str(path))
        return done.returncode, done.stderr.splitlines()[0]

    for name in ("toon.safetensors", "toon.ckpt", "toon.txt"):
        (tmp_path / name).touch()
    single = "is a single file, not a diffusers pipeline folder"
    assert error_of(tmp_path / "toon.safetensors") == (1, f"error: `toon.safetensors` {single}")
    assert error_of(tmp_path / "toon.txt") == (1, f"error: `toon.txt` {single}")
    assert error_of(tmp_path / "toon.ckpt") == (
        5,
        "error: `toon.ckpt` is a pickle, which can run code when it is loaded",
    )
    (tmp_path / "empty").mkdir()
    assert error_of(tmp_path / "empty") == (5, "error: `empty` is not a complete diffusers pipeline folder")
    vae = copied / "vae" / "diffusion_pytorch_model.safetensors"
    vae.write_bytes(vae.read_bytes()[:-1])
    assert error_of(copied) == (5, "error: `copied` is not complete: weights of its `vae` are truncated")
    vae.unlink()
    message = "error: `copied` is not complete: weights of its `vae` are missing"
    assert error_of(copied) == (5, message)
    assert cav("models", "add", "half", str(copied)).returncode == 5
    (copied / "unet" / "diffusion_pytorch_model.bin").touch()
    (copied / UNET).unlink()
    assert error_of(copied) == (5, "error: `copied` has only pickled weights, which can run code when loaded")
    shutil.rmtree(copied / "unet")
    (copied / "transformer").mkdir()
    (copied / "transformer" / "config.json").write_text('{"_class_name": "WanTransformer3DModel", "in_channels": 16}')
    assert error_of(copied) == (5, "error: `copied` is not complete: weights of its `transformer` are missing")


def test_an_added_folder_that_is_gone_or_damaged(cav: Cav, copied: Path, home: Path) -> None:
    cav("models", "add", "dance", str(copied))
    shutil.move(copied, copied.with_name("elsewhere"))
    assert states(cav)["dance"] == "missing"
    done = cav("generate", "a cat", "--model", "dance")
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, f"error: the folder of `dance` is gone: `{copied}`")
    (home / "data" / "models" / "dance.toml").write_text("schema = [")
    done = cav("generate", "a cat", "--model", "dance")
    assert (done.returncode, "is not TOML" in done.stderr) == (5, True)
