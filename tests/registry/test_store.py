import itertools
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cavtool.errors import Conflict, IntegrityFailure, InvalidInput, NotFound, RequirementError
from cavtool.registry import Asset, Registry
from cavtool.registry.record import to_toml
from tests.registry.samples import content, put, seed_of, sources


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "assets"


def test_an_empty_registry_is_valid_and_reading_creates_nothing(root: Path) -> None:
    registry = Registry(root)
    assert (registry.names(), registry.list(), registry.broken()) == ([], [], [])
    registry.check_free("twirl")
    with pytest.raises(NotFound):
        registry.get("twirl")
    assert not root.exists()


def test_put_keeps_copies_and_fills_in_the_record(root: Path, tmp_path: Path) -> None:
    asset = put(root, "twirl", seed=3)
    shutil.rmtree(tmp_path / "sources")
    assert seed_of(asset) == 3
    assert sorted(path.name for path in root.rglob("*") if path.name[0] != ".") == [
        "record.toml",
        "reference.mp4",
        "twirl",
        "weights.safetensors",
    ]
    assert asset == Registry(root).get("twirl") == Registry(root).get("twirl", "motion")
    assert asset.size == sum(len(content(3, name)) for name in asset.record.files)
    assert asset.record.files["weights.safetensors"] == asset.record.content_id
    assert asset.record.created.endswith("+00:00")
    Registry(root).verify("twirl")


def test_assets_are_listed_by_name_and_kind(root: Path) -> None:
    for name, kind in [("zigzag", "motion"), ("twirl", "motion"), ("twirl-look", "absorber")]:
        put(root, name, seed=1, kind=kind)
    registry = Registry(root)
    assert registry.names() == ["twirl", "twirl-look", "zigzag"]
    assert [asset.record.name for asset in registry.list()] == registry.names()
    assert [asset.record.name for asset in registry.list("absorber")] == ["twirl-look"]


def test_not_found_offers_the_closest_name(root: Path) -> None:
    put(root, "twirl", seed=1)
    put(root, "twirl-look", seed=1, kind="absorber")
    registry = Registry(root)
    for name, kind, message, hint in [
        ("twril", "motion", "no motion named `twril`", "did you mean `twirl`?"),
        ("twirl-lok", "absorber", "no absorber named `twirl-lok`", "did you mean `twirl-look`?"),
        ("twirl-look", "motion", "no motion named `twirl-look`", "`twirl-look` is an absorber"),
        ("Twirl", None, "no motion or absorber named `Twirl`", "did you mean `twirl`?"),
        ("../assets/twirl", None, "no motion or absorber named `../assets/twirl`", "`cav list` shows what there is"),
    ]:
        with pytest.raises(NotFound) as caught:
            registry.get(name, kind)  # type: ignore[arg-type]
        assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_taken_name_is_refused_and_nothing_changes(root: Path) -> None:
    put(root, "twirl", seed=1)
    with pytest.raises(Conflict, match="`twirl` already exists") as caught:
        Registry(root).check_free("twirl")
    assert caught.value.hint == "choose another name, or pass `--force` to replace it"
    with pytest.raises(Conflict):
        put(root, "twirl", seed=2)
    assert seed_of(Registry(root).get("twirl")) == 1
    with pytest.raises(InvalidInput):
        put(root, "Twirl", seed=2)


def test_replaced_and_removed_assets_are_complete_in_the_trash(root: Path) -> None:
    for seed in (1, 2):
        put(root, "twirl", seed, replace_it=True)
    registry = Registry(root)
    assert seed_of(registry.get("twirl")) == 2
    registry.remove("twirl")
    assert registry.names() == []
    for seed, folder in zip((1, 2), sorted(registry.trash.iterdir()), strict=True):
        assert folder.name.startswith("twirl-20")
        shutil.copytree(folder, root / "twirl")
        assert seed_of(registry.get("twirl")) == seed
        shutil.rmtree(root / "twirl")


@pytest.mark.parametrize("name", ["twril", "../assets", "", ".lock"])
def test_remove_of_a_missing_asset(root: Path, name: str) -> None:
    put(root, "twirl", seed=1)
    with pytest.raises(NotFound):
        Registry(root).remove(name)
    assert Registry(root).names() == ["twirl"]


def test_broken_assets_never_hide_the_good_ones(root: Path) -> None:
    for name in ("good", "torn", "empty", "newer", "binary", "renamed", "bare", "locked"):
        put(root, name, seed=1)
    torn = root / "torn" / "record.toml"
    torn.write_text(torn.read_text()[:100])
    (root / "empty" / "record.toml").write_text("")
    (root / "newer" / "record.toml").write_text("schema = 99")
    (root / "binary" / "record.toml").write_bytes(b"\xff\xfe\x00")
    (root / "renamed").rename(root / "moved")
    (root / "bare" / "record.toml").unlink()
    (root / "locked" / "record.toml").unlink()
    (root / "locked" / "record.toml").mkdir()
    (root / "Not A Name").mkdir()
    (root / "notes").write_text("a stray file")
    registry = Registry(root)
    assert [asset.record.name for asset in registry.list()] == ["good"]
    broken = dict(registry.broken())
    assert sorted(broken) == ["bare", "binary", "empty", "locked", "moved", "newer", "torn"]
    assert broken["newer"].message == "`newer`: the record has schema 99, this version knows 4"
    assert broken["bare"].message == "`bare` has no `record.toml`"
    assert broken["moved"].message == "`moved` holds the record of `renamed`"
    for name in broken:
        with pytest.raises(IntegrityFailure):
            registry.get(name)
        with pytest.raises(Conflict):
            registry.check_free(name)
        registry.remove(name)
    put(root, "torn", seed=2)
    assert registry.names() == ["good", "torn"]


def test_a_broken_asset_can_be_replaced(root: Path) -> None:
    put(root, "twirl", seed=1)
    (root / "twirl" / "record.toml").write_text("")
    assert seed_of(put(root, "twirl", seed=2, replace_it=True)) == 2


@pytest.mark.parametrize("name", ["weights.safetensors", "reference.mp4"])
def test_verify_finds_changed_and_missing_files(root: Path, name: str) -> None:
    asset = put(root, "twirl", seed=1)
    data = bytearray((asset.folder / name).read_bytes())
    data[500] ^= 1
    (asset.folder / name).write_bytes(data)
    with pytest.raises(IntegrityFailure, match=f"`{name}` of `twirl` does not match its checksum"):
        Registry(root).verify("twirl")
    (asset.folder / name).unlink()
    with pytest.raises(IntegrityFailure, match=f"`{name}` of `twirl` cannot be read: No such file"):
        Registry(root).verify("twirl")
    assert Registry(root).get("twirl").size < asset.size + len(data)


def test_a_copy_is_another_asset_of_the_same_content(root: Path) -> None:
    registry, first = Registry(root), put(root, "twirl", seed=1)
    copied = registry.copy("twirl", "spin")
    assert (seed_of(registry.get("spin")), seed_of(registry.get("twirl"))) == (1, 1)
    assert copied == registry.get("spin")
    assert replace(copied.record, name="twirl", created=first.record.created) == first.record
    with pytest.raises(Conflict):
        registry.copy("twirl", "spin")
    with pytest.raises(Conflict):
        registry.copy("twirl", "twirl", replace=True)
    with pytest.raises(InvalidInput):
        registry.copy("twirl", "Spin")
    with pytest.raises(NotFound):
        registry.copy("twril", "other")
    put(root, "other", seed=2)
    assert seed_of(registry.copy("other", "spin", replace=True)) == 2
    assert len(list(registry.trash.iterdir())) == 1


def test_renaming_changes_only_the_name(root: Path) -> None:
    registry, before = Registry(root), put(root, "twirl", seed=1)
    renamed = registry.rename("twirl", "spin")
    assert registry.names() == ["spin"]
    assert seed_of(registry.get("spin")) == 1
    assert renamed.record == replace(before.record, name="spin") == registry.get("spin").record


@pytest.mark.parametrize("verb", ["copy", "rename"])
def test_a_damaged_asset_is_not_copied(root: Path, verb: str) -> None:
    registry, asset = Registry(root), put(root, "twirl", seed=1)
    asset.reference.write_bytes(b"other")
    with pytest.raises(IntegrityFailure, match=r"`reference\.mp4` of `twirl` does not match its checksum"):
        getattr(registry, verb)("twirl", "spin")
    assert registry.names() == ["twirl"]


def test_tags_and_note_are_set_separately(root: Path) -> None:
    registry, before = Registry(root), put(root, "twirl", seed=1)
    registry.annotate("twirl", add=["slow", "dance", "slow"])
    registry.annotate("twirl", note="too fast")
    assert registry.get("twirl").record == replace(before.record, tags=("dance", "slow"), note="too fast")
    registry.annotate("twirl", remove=["slow", "dance", "none"], note="")
    assert registry.get("twirl").record == before.record
    registry.verify("twirl")


@pytest.mark.parametrize("change", [("copy", "spin"), ("rename", "spin"), ("annotate",)])
def test_an_asset_of_a_newer_version_is_read_but_not_changed(root: Path, change: tuple[str, ...]) -> None:
    registry, path = Registry(root), put(root, "twirl", seed=1).folder / "record.toml"
    path.write_text(path.read_text().replace("schema = 4", "schema = 5\nmood = 'new'"))
    text = path.read_text()
    assert seed_of(registry.get("twirl")) == 1
    with pytest.raises(IntegrityFailure, match="written by a newer `cav`"):
        getattr(registry, change[0])("twirl", *change[1:])
    assert path.read_text() == text
    registry.remove("twirl")


def test_read_raises_what_use_raises_and_gives_up_if_the_asset_keeps_changing(root: Path) -> None:
    put(root, "twirl", seed=1)
    registry = Registry(root)
    with pytest.raises(FileNotFoundError):
        registry.read("twirl", lambda asset: (asset.folder / "nothing").read_bytes())
    ranks = itertools.count(1)

    def change(asset: Asset) -> None:
        (asset.folder / "record.toml").write_text(to_toml(replace(asset.record, rank=next(ranks))))

    with pytest.raises(Conflict, match="keeps changing while being read"):
        registry.read("twirl", change)


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequirementError, match=r"cannot write to `.*assets`: Not a directory") as caught:
        Registry(tmp_path / "file" / "assets").remove("twirl")
    assert "CAV_HOME" in (caught.value.hint or "")


def test_a_failed_copy_leaves_nothing_behind(root: Path, tmp_path: Path) -> None:
    asset = put(root, "twirl", seed=1)
    files = sources(tmp_path / "sources", seed=2)
    files["reference.mp4"].unlink()
    with pytest.raises(RequirementError):
        Registry(root).put(replace(asset.record, name="zigzag"), files)
    assert sorted(path.name for path in root.iterdir()) == [".lock", "twirl"]


def test_reading_does_not_import_the_libraries_for_writing(root: Path) -> None:
    put(root, "twirl", seed=1)
    code = f"""if True:
        import sys, pathlib
        from cavtool.registry import Registry
        assert Registry(pathlib.Path({str(root)!r})).list()
        print(sorted({{"filelock", "tomlkit", "numpy", "torch", "safetensors", "rich"}} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
