"""`cav export` and `cav import`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.assets import listed_names, put_motion
from tests.cli.conftest import Cav


@pytest.fixture(autouse=True)
def _current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_motions_are_shared_in_a_file(cav: Cav, home: Path, tmp_path: Path) -> None:
    put_motion(home, "twirl")
    put_motion(home, "twirl-look", kind="absorber")
    assert cav("export", "twirl").stdout == "twirl.cav\n"
    assert cav("export", "twirl").returncode == 4
    assert cav("export", "twirl", "--force").returncode == 0
    assert cav("export", "twirl*").returncode == 2
    assert cav("export", "twirl*", "-o", "both.cav").stdout == "both.cav\n"
    other = {"CAV_HOME": str(tmp_path / "other")}
    assert cav("import", "both.cav", env=other).stdout == "twirl\ntwirl-look\n"
    assert cav("import", "twirl.cav", env=other).returncode == 4
    assert cav("import", "twirl.cav", "--as", "spin", env=other).stdout == "spin\n"
    assert cav("import", "both.cav", "--as", "spin", env=other).returncode == 2
    assert listed_names(cav, env=other) == ["spin", "twirl", "twirl-look"]
    assert cav("verify", env=other).returncode == 0


def test_any_other_file_is_refused(cav: Cav, tmp_path: Path) -> None:
    (tmp_path / "text.cav").write_text("hello")
    assert cav("import", "text.cav", "--model", "cav-mini").stderr.startswith("error: `--model` is for LoRAs of other")
    done = cav("import", "text.cav")
    assert done.returncode == 5
    assert done.stderr == "error: `text.cav` is not a complete .cav file: File is not a zip file\n"
    assert cav("import", "nothing.cav").returncode == 3


def test_several_files_are_imported_and_the_failed_one_is_named(cav: Cav, home: Path, tmp_path: Path) -> None:
    for name in ("twirl", "zoom"):
        put_motion(home, name)
        cav("export", name, "-o", "shared")
    assert sorted(path.name for path in Path("shared").iterdir()) == ["twirl.cav", "zoom.cav"]
    other = {"CAV_HOME": str(tmp_path / "other")}
    Path("shared/bad.cav").write_text("hello")
    done = cav("import", "shared/bad.cav", "shared/twirl.cav", "shared/zoom.cav", env=other)
    assert (done.returncode, done.stdout) == (5, "twirl\nzoom\n")
    assert done.stderr.endswith("error: 2 imported, 1 failed: `shared/bad.cav`\n")
    assert cav("import", "shared/twirl.cav", "shared/zoom.cav", "--as", "x", env=other).returncode == 2
    assert cav("import", "shared/twirl.cav", "--as", "", env=other).returncode == 2


def test_links_are_followed_and_devices_refused(cav: Cav, home: Path, tmp_path: Path) -> None:
    put_motion(home, "twirl")
    Path("real.cav").touch()
    Path("link.cav").symlink_to("real.cav")
    assert cav("export", "twirl", "-o", "link.cav", "--force").returncode == 0
    assert Path("link.cav").is_symlink()
    assert Path("real.cav").stat().st_size > 0
    Path("null.cav").symlink_to("/dev/null")
    done = cav("export", "twirl", "-o", "null.cav")
    assert (done.returncode, "--force" in done.stderr) == (2, False)
    assert "is a pipe or a device, not a file" in done.stderr
    assert cav("generate", "a cat", "-o", "-").stderr.startswith("error: cannot write to stdout\n")


def test_a_bundle_goes_through_a_pipe(
    cav: Cav, cav_process: Cav, environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    put_motion(home, "twirl")
    with Path("piped.cav").open("wb") as file:
        command = [sys.executable, "-m", "cavtool", "export", "twirl", "-o", "-"]
        subprocess.run(command, env=environment, stdout=file, check=True)
    assert cav("import", "piped.cav", "--as", "spin").stdout == "spin\n"
    assert cav("export", "twirl", "-o", "-", "--json").returncode == 2


def test_loras_of_other_tools_are_written_and_read(cav: Cav, home: Path, tmp_path: Path) -> None:
    """The motion is one of cav-mini, the model that is meant if none is named."""
    pair = {"lora_A.weight": torch.ones(2, 64), "lora_B.weight": torch.ones(64, 2)}
    layer = "down_blocks.0.temp_attentions.0.transformer_blocks.0.attn1.to_q"
    twirl = put_motion(home, "twirl")
    save_file({f"unet.{layer}.{name}": matrix for name, matrix in pair.items()}, tmp_path / "spin.safetensors")
    done = cav("import", "spin.safetensors", "--as", "spin")
    assert done == (0, "spin\n", "")
    done = cav("export", "spin", "--format", "diffusers", "-o", "out")
    assert (done.returncode, done.stdout) == (0, "out/spin.safetensors\n")
    assert "note: diffusers cannot load LoRAs into a pipeline of this family" in done.stderr
    assert load_file("out/spin.safetensors").keys() == {f"unet.{layer}.{name}" for name in pair}
    assert cav("export", "spin", "--format", "kohya").stderr.endswith("hint: use `--format diffusers`\n")
    scale = {"lora_adapter_metadata": f'{{"unet.lora_alpha": {10**400}}}'}
    save_file({f"unet.{layer}.{name}": matrix for name, matrix in pair.items()}, tmp_path / "big.safetensors", scale)
    done = cav("import", "big.safetensors")
    assert (done.returncode, done.stderr.splitlines()[0]) == (5, f"error: the scale of `{layer}` is too large")
    (tmp_path / "folder.safetensors").mkdir()
    assert "is not a regular file" in cav("import", "folder.safetensors").stderr
    (twirl.folder / "weights.safetensors").write_bytes(b"hello")
    assert cav("export", "twirl", "--format", "comfy").returncode == 5
    assert cav("import", "spin.safetensors", "--model", "zeroscope").returncode == 6
    pair["lora_B.weight"] *= float("nan")
    save_file({f"unet.{layer}.{name}": matrix for name, matrix in pair.items()}, tmp_path / "bad.safetensors")
    done = cav("import", "bad.safetensors")
    assert (done.returncode, listed_names(cav)) == (5, ["spin", "twirl"])
    assert "hold NaN or infinity" in done.stderr
