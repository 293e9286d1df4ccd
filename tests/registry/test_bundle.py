"""Bundles: assets as one file, and untrusted files."""

import json
import math
import os
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from cavtool.errors import Conflict, IntegrityFailure, InvalidInput, NotFound
from cavtool.registry import Kind, Registry
from cavtool.registry.bundle import bundle_path, pack, unpack
from cavtool.registry.verify import verify_assets
from tests.registry.samples import DRAFT, put, seed_of


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "assets")
    put(registry.root, "twirl", seed=1)
    put(registry.root, "twirl-look", seed=2, kind="absorber")
    return registry


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "other" / "assets")


@pytest.fixture
def bundle(registry: Registry, tmp_path: Path) -> Path:
    pack(registry, ["twirl", "twirl-look"], path := tmp_path / "twirl.cav")
    return path


def rewritten(bundle: Path, change: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> Path:
    """The bundle with entries replaced, added, or (None) left out."""
    with zipfile.ZipFile(bundle) as before:
        entries = {name: before.read(name) for name in before.namelist()} | change
    with zipfile.ZipFile(bundle, "w", compression) as after:
        for name, data in entries.items():
            if data is not None:
                after.writestr(name, data)
    return bundle


def test_unpacking_restores_what_was_packed(registry: Registry, other: Registry, bundle: Path) -> None:
    assets = unpack(other, bundle)
    before = [registry.get(name).record for name in registry.names()]
    assert [asset.record for asset in assets] == [replace(record, origin="imported") for record in before]
    assert [seed_of(other.get(name)) for name in other.names()] == [1, 2]


def test_a_bundle_is_named_after_its_asset_unless_it_has_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bundle_path(["twirl"], None) == Path("twirl.cav")
    assert bundle_path(["twirl", "zoom"], tmp_path) == tmp_path / "twirl.cav"
    (file := tmp_path / "both.cav").touch()
    assert bundle_path(["twirl", "zoom"], file, overwrite=True) == file
    with pytest.raises(Conflict, match="already exists"):
        bundle_path(["twirl", "zoom"], file)
    with pytest.raises(InvalidInput, match="needs a name"):
        bundle_path(["twirl", "zoom"], None)


def test_only_a_single_asset_can_be_renamed(other: Registry, bundle: Path) -> None:
    with pytest.raises(InvalidInput, match="2 motions or absorbers"):
        unpack(other, bundle, to="spin")
    assert other.names() == []


def test_the_same_assets_give_the_same_bytes(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    pack(registry, ["twirl-look", "twirl"], again := tmp_path / "again.cav")
    assert again.read_bytes() == bundle.read_bytes()


def test_one_asset_may_have_another_name(registry: Registry, other: Registry, tmp_path: Path) -> None:
    pack(registry, ["twirl"], path := tmp_path / "one.cav")
    (asset,) = unpack(other, path, to="spin")
    assert (asset.record.name, seed_of(other.get("spin"))) == ("spin", 1)
    with pytest.raises(InvalidInput):
        unpack(other, path, to="../spin")


def test_one_taken_name_refuses_the_whole_bundle(other: Registry, bundle: Path) -> None:
    put(other.root, "twirl-look", seed=9, kind="absorber")
    with pytest.raises(Conflict, match="`twirl-look` already exists"):
        unpack(other, bundle)
    assert other.names() == ["twirl-look"]
    unpack(other, bundle, replace_it=True)
    assert [seed_of(other.get(name)) for name in other.names()] == [1, 2]


def test_a_damaged_asset_is_not_packed(registry: Registry, tmp_path: Path) -> None:
    registry.get("twirl").reference.write_bytes(b"other")
    with pytest.raises(IntegrityFailure):
        pack(registry, ["twirl"], tmp_path / "twirl.cav")
    with pytest.raises(NotFound):
        pack(registry, ["twril"], tmp_path / "twirl.cav")
    assert not (tmp_path / "twirl.cav").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"twirl/weights.safetensors": b"other"}, "does not match its checksum"),
        ({"twirl/reference.mp4": None}, "do not match its records"),
        ({"twirl/record.toml": None}, "do not match its records"),
        ({"twirl/more.txt": b"more"}, "do not match its records"),
        ({"../../escaped.txt": b"out"}, "do not match its records"),
        ({"/escaped/record.toml": b"schema = 4"}, "the record has no `name`"),
        ({"twirl/record.toml": b"\xff\xfe"}, "not UTF-8 text"),
        ({"twirl/record.toml": b"x" * 2_000_000}, "do not match its records"),
    ],
)
def test_nothing_is_imported_from_an_invalid_bundle(
    other: Registry, bundle: Path, change: dict[str, bytes | None], message: str
) -> None:
    with pytest.raises(IntegrityFailure, match=message):
        unpack(other, rewritten(bundle, change))
    assert other.names() == []


def test_a_record_in_the_folder_of_another_name_is_refused(other: Registry, bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as opened:
        record = opened.read("twirl/record.toml").replace(b'name = "twirl"', b'name = "spin"')
    with pytest.raises(IntegrityFailure):
        unpack(other, rewritten(bundle, {"twirl/record.toml": record}))


def test_a_newer_record_is_refused(other: Registry, bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as opened:
        record = opened.read("twirl/record.toml").replace(b"schema = 4", b"schema = 5")
    rewritten(bundle, {"twirl/record.toml": record})
    with pytest.raises(IntegrityFailure, match="newer `cav`"):
        unpack(other, bundle)


def test_an_asset_of_another_kind_is_not_replaced(other: Registry, bundle: Path) -> None:
    put(other.root, "twirl", seed=9, kind="absorber")
    with pytest.raises(Conflict, match="`twirl` is an existing absorber, which no motion can replace"):
        unpack(other, bundle, replace_it=True)
    assert other.names() == ["twirl"]


def odd_bundle(registry: Registry, folder: Path, weights: bytes, *, kind: Kind = "motion", **files: bytes) -> Path:
    """A bundle that no `cav` would write, of an asset with these weights and these other files."""
    there = {"weights.safetensors": weights, **{name.replace("_", "."): data for name, data in files.items()}}
    for name, data in there.items():
        (folder / name).write_bytes(data)
    asset = registry.put(replace(DRAFT, name="odd", kind=kind), {name: folder / name for name in there})
    with zipfile.ZipFile(path := folder / "odd.cav", "w") as bundle:
        for name in ("record.toml", *there):
            bundle.write(asset.folder / name, f"odd/{name}")
    return path


def tensors(shapes: dict[str, list[int]], value: float = 0.5, kind: str = "F32", **metadata: str) -> bytes:
    """A safetensors file in which every number is the same."""
    formats = {"F32": "<f", "F16": "<e", "BF16": "<f"}
    number = struct.pack(formats[kind], value)[2 if kind == "BF16" else 0 :]
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * len(number)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + number * (end // len(number))


A, B = "unet.layer.lora_A.weight", "unet.layer.lora_B.weight"
WHOLE = {A: [2, 3], B: [4, 2]}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (b"no header", "not a readable safetensors file"),
        (b"\xff" * 100, "not a readable safetensors file"),
        (tensors({}), "the file holds no LoRA"),
        (tensors({"token": [2, 64]}), "the file holds no LoRA"),
        (tensors({A: [2, 3]}), r"`unet.layer` do not fit each other: \[2, 3\] and missing"),
        (tensors({**WHOLE, "unet.other.lora_B.weight": [4, 2]}), "`unet.other` do not fit each other"),
        (tensors({A: [3], B: [4]}), "do not fit each other"),
        (tensors({A: [2, 3], B: [4, 3]}), "do not fit each other"),
        (tensors({A: [0, 3], B: [4, 0]}), "do not fit each other"),
        (tensors(WHOLE, math.nan), f"`{A}` holds NaN or infinity"),
        (tensors(WHOLE, -math.inf), f"`{A}` holds NaN or infinity"),
        (tensors(WHOLE, math.nan, "F16"), f"`{A}` holds NaN or infinity"),
        (tensors(WHOLE, math.inf, "BF16"), f"`{A}` holds NaN or infinity"),
        (tensors(WHOLE)[:-1], "is truncated"),
        (tensors(WHOLE) + b"more", "file not fully covered"),
        (tensors(WHOLE).replace(b"[0, 24]", b"[24, 0]"), "invalid offset"),
        (tensors(WHOLE).replace(b"[24, 56]", b"[20, 52]"), "invalid offset"),
        (tensors(WHOLE).replace(b"[2, 3]", b"[2, 9]"), "invalid shape"),
        (tensors({A: [1] * 500, B: [4, 2]}), r"500 dimensions and \[4, 2\]"),
        (tensors(WHOLE).replace(b'"F32"', b'"I32"'), "is of type I32"),
        (tensors(WHOLE, lora_adapter_metadata='{"unet.lora_alpha": Infinity}'), "their scale is not finite"),
        (tensors(WHOLE, lora_adapter_metadata='{"unet.lora_alpha": 1e999}'), "their scale is not finite"),
        (tensors(WHOLE, lora_adapter_metadata=f'{{"unet.lora_alpha": {10**400}}}'), "their scale is not finite"),
    ],
)
def test_weights_that_no_model_can_use_are_neither_imported_nor_intact(
    registry: Registry, other: Registry, tmp_path: Path, weights: bytes, message: str
) -> None:
    path = odd_bundle(registry, tmp_path, weights)
    with pytest.raises(IntegrityFailure, match=message):
        unpack(other, path)
    assert other.names() == []
    found = verify_assets(registry)
    assert (found.damaged, found.intact) == ({"odd"}, 2)


@pytest.mark.parametrize("shapes", [{"token": [2, 64]}, WHOLE, {**WHOLE, "token": [1, 64]}])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_every_kind_of_absorber_is_imported(
    registry: Registry, other: Registry, tmp_path: Path, shapes: dict[str, list[int]], kind: str
) -> None:
    unpack(other, odd_bundle(registry, tmp_path, tensors(shapes, -1.5, kind), kind="absorber"))
    assert verify_assets(other).intact == 1


def test_only_the_files_of_an_asset_are_imported(registry: Registry, other: Registry, tmp_path: Path) -> None:
    with pytest.raises(IntegrityFailure, match="unexpected files"):
        unpack(other, odd_bundle(registry, tmp_path, tensors(WHOLE), aux_txt=b"a device on Windows"))
    assert other.names() == []


def test_an_encrypted_bundle_is_refused_in_one_line(other: Registry, bundle: Path) -> None:
    data = bytearray(bundle.read_bytes())
    for at in range(len(data) - 4):
        if data[at : at + 4] == b"PK\x01\x02":
            data[at + 8] |= 1  # "encrypted"
    bundle.write_bytes(data)
    with pytest.raises(IntegrityFailure, match=r"not a complete \.cav file"):
        unpack(other, bundle)


def test_a_compressed_bundle_is_refused(other: Registry, bundle: Path) -> None:
    with pytest.raises(IntegrityFailure, match="compressed"):
        unpack(other, rewritten(bundle, {}, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("keep", [0, 10, 5000, -10])
def test_a_truncated_bundle_is_refused(other: Registry, bundle: Path, keep: int) -> None:
    bundle.write_bytes(bundle.read_bytes()[:keep])
    with pytest.raises(IntegrityFailure, match=r"not a complete \.cav file"):
        unpack(other, bundle)


def test_a_missing_file_is_not_found(other: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        unpack(other, tmp_path / "nothing.cav")


def test_tags_and_note_are_exported(registry: Registry, other: Registry, tmp_path: Path) -> None:
    registry.annotate("twirl", add=["slow"], note="from the sea")
    pack(registry, ["twirl"], path := tmp_path / "one.cav")
    unpack(other, path)
    assert other.get("twirl").record == replace(registry.get("twirl").record, origin="imported")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name on this system")
def test_a_pipe_is_refused_at_once(other: Registry, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "twirl.cav")
    with pytest.raises(IntegrityFailure, match="not a regular file"):
        unpack(other, tmp_path / "twirl.cav")
    put(other.root, "twirl", seed=1)
    (other.root / "odd").mkdir()
    os.mkfifo(other.root / "odd" / "record.toml")
    assert [name for name, _ in other.broken()] == ["odd"]
    assert other.get("twirl").record.name == "twirl"
