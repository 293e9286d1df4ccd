import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cavtool.errors import IntegrityFailure
from cavtool.system.safetensors import find_weights, read_header, tensor_shapes


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_shapes_of_several_files(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3)}, tmp_path / "1", {"format": "pt"})
    save_file({"b": torch.zeros(4)}, tmp_path / "2")
    assert tensor_shapes([tmp_path / "1", tmp_path / "2"]) == {"a": [2, 3], "b": [4]}
    assert read_header(tmp_path / "1")["__metadata__"] == {"format": "pt"}


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\xff" * 100, bytes([2]) + bytes(7) + b"[]", b"PK" * 50])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(IntegrityFailure, match="not a readable safetensors file"):
        read_header(tmp_path / "file")


@pytest.mark.parametrize(
    ("names", "expected", "variant"),
    [
        (("diffusion_pytorch_model.safetensors",), "diffusion_pytorch_model.safetensors", None),
        (("model.fp16.safetensors",), "model.fp16.safetensors", "fp16"),
        (("model.safetensors", "model.fp16.safetensors"), "model.safetensors", None),
        (("model.ema.safetensors", "model.fp16.safetensors"), "model.fp16.safetensors", "fp16"),
    ],
)
def test_the_default_variant_is_preferred(
    tmp_path: Path, names: tuple[str, ...], expected: str, variant: str | None
) -> None:
    touch(tmp_path, "config.json", "other.safetensors", *names)
    weights = find_weights(tmp_path)
    assert weights is not None
    assert ([file.name for file in weights.files], weights.variant) == ([expected], variant)


@pytest.mark.parametrize(("index", "variant"), [("index", None), ("index.fp16", "fp16")])
def test_an_index_names_the_shards_beside_it(tmp_path: Path, index: str, variant: str | None) -> None:
    file = tmp_path / f"diffusion_pytorch_model.safetensors.{index}.json"
    file.write_text(json.dumps({"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "../2.safetensors"}}))
    weights = find_weights(tmp_path)
    assert weights is not None
    assert weights.files == (tmp_path / "1.safetensors", tmp_path / "2.safetensors")
    assert weights.variant == variant
    file.write_text("{}")
    with pytest.raises(IntegrityFailure, match="index"):
        find_weights(tmp_path)


def test_a_folder_without_safetensors_has_no_weights(tmp_path: Path) -> None:
    touch(tmp_path, "config.json", "diffusion_pytorch_model.bin")
    assert find_weights(tmp_path) is None
