"""Mixes, of made-up LoRAs where no model is needed, and of motions for real models."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from cavtool.core.adapters import lora
from cavtool.core.backbones import open_backbone
from cavtool.errors import Conflict, Incompatible, IntegrityFailure, InvalidInput, NotFound
from cavtool.events import Event, Note
from cavtool.models import find_model
from cavtool.recipes import MixRecipe, parse_blend
from cavtool.registry import Asset, Parent, Record
from cavtool.registry.bundle import pack, unpack
from cavtool.registry.verify import verify_assets
from cavtool.studio.mix import mix
from cavtool.studio.session import Motion, Session, motion_of
from cavtool.workspace import Workspace
from tests.core.test_lora import random_state
from tests.core.test_mix import lora_of

DRAFT = Record(
    name="twirl",
    kind="motion",
    origin="learned",
    base_model="cav-mini",
    fingerprint="f" * 16,
    revision="r" * 12,
    prompt="a lantern twirls",
    appearance="",
    rank=2,
    recipe={"noise_from": 0.7},
)


def put(name: str, state: lora.LoraState, **changes: Any) -> Asset:
    """A motion in the registry."""
    with TemporaryDirectory() as folder:
        lora.save(state, Path(folder, "weights"), {"format": "pt"})
        draft = dataclasses.replace(DRAFT, **{"name": name, "prompt": f"it {name}s", **changes})
        return Workspace().registry.put(draft, {"weights.safetensors": Path(folder, "weights")})


def mixed(name: str, *motions: str, rank: int | None = None, **options: Any) -> Asset:
    """Mix motions, as `cav mix` names them."""
    return mix(name, MixRecipe(tuple(map(parse_blend, motions)), rank), **options)


def delta(asset: Asset, layer: str = "down.to_q") -> Tensor:
    A, B = lora.pairs_of(motion_of(asset).state)[layer]
    return B.double() @ A.double()


def parent(asset: Asset, weight: float) -> Parent:
    return Parent(name=asset.record.name, content_id=asset.record.content_id, weight=weight)


@pytest.fixture
def three() -> list[Asset]:
    return [put(name, lora_of(seed, 2)) for seed, name in enumerate(("twirl", "zoom", "hop"))]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cav-mini", "modelscope", "animatediff"])
def test_a_mix_generates_what_its_motions_do_together(
    model: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_model(model if model == "cav-mini" else str(request.getfixturevalue(model)))
    session = Session(found, open_backbone(found.folder, device="cpu", dtype="fp32"))
    monkeypatch.setattr(session.backbone, "decode", lambda latents: latents)
    targets = session.backbone.temporal_targets()
    noisy = {"noise_from": 0.4}  # two of three steps
    put("twirl", random_state(session.backbone, targets, 1), recipe=noisy)
    put("zoom", random_state(session.backbone, targets[::2], 2, rank=2), recipe=noisy)
    mixed("both", "twirl:0.4", "zoom:-0.3")

    def latents(*motions: Motion) -> Any:
        return session.generate("a red cat", 3, motions, steps=3, guidance=1)

    def of(name: str, weight: float = 1.0) -> Motion:
        return Workspace().registry.read(name, lambda asset: motion_of(asset, weight))

    together = latents(of("twirl", 0.4), of("zoom", -0.3))
    torch.testing.assert_close(latents(of("both")), together, atol=1e-5, rtol=0)
    assert (together - latents(of("twirl", 0.4))).abs().max() > 1e-3


def test_the_record_and_the_file_describe_the_mix(three: Sequence[Asset]) -> None:
    twirl, zoom, _ = three
    asset = mixed("both", "twirl", "zoom:0.7")
    record = asset.record
    assert (record.kind, record.origin, record.rank) == ("motion", "mixed", 4)
    assert record.parents == (parent(twirl, 1.0), parent(zoom, 0.7))
    assert (record.base_model, record.fingerprint, record.revision) == ("cav-mini", "f" * 16, "r" * 12)
    assert (record.prompt, record.recipe, record.metrics) == ("it twirls + it zooms", {"noise_from": 0.7}, {})
    torch.testing.assert_close(delta(asset), delta(twirl) + 0.7 * delta(zoom), rtol=1e-6, atol=1e-6)
    with safe_open(asset.weights, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["lora_adapter_metadata"]) == {
        "unet.r": 4,
        "unet.lora_alpha": 4,
        "unet.target_modules": ["down.to_k", "down.to_q", "up.to_q"],
    }
    assert metadata["modelspec.merged_from"] == f"{twirl.record.short_id},{zoom.record.short_id}"
    assert mixed("again", "twirl", "zoom:0.7").record.content_id == record.content_id


def test_a_mix_of_mixes_has_the_motions_themselves_as_parents(three: Sequence[Asset]) -> None:
    twirl, zoom, hop = three
    mixed("both", "twirl:2", "zoom")
    asset = mixed("all", "both:0.5", "hop", "twirl:0.25")
    assert asset.record.parents == (parent(twirl, 1.25), parent(zoom, 0.5), parent(hop, 1.0))
    expected = 1.25 * delta(twirl) + 0.5 * delta(zoom) + delta(hop)
    torch.testing.assert_close(delta(asset), expected, rtol=1e-6, atol=1e-6)
    assert mixed("without", "both", "twirl:-2").record.parents == (parent(zoom, 1.0),)


def test_a_copy_of_a_motion_counts_as_the_motion(three: Sequence[Asset]) -> None:
    Workspace().registry.copy("twirl", "twirl-2")
    assert mixed("double", "twirl", "twirl-2").record.parents == (parent(three[0], 2.0),)
    with pytest.raises(InvalidInput, match="the motions cancel out"):
        mixed("nothing", "twirl", "twirl-2:-1")


def test_a_lower_rank_reports_and_keeps_its_relative_error(three: Sequence[Asset]) -> None:
    events: list[Event] = []
    exact = mixed("exact", "twirl", "zoom")
    asset = mixed("small", "twirl", "zoom", rank=3, on_event=events.append)
    error = asset.record.metrics["relative_error"]
    layers = [delta(asset, layer) - delta(exact, layer) for layer in ("down.to_q", "down.to_k", "up.to_q")]
    whole = [delta(exact, layer) for layer in ("down.to_q", "down.to_k", "up.to_q")]
    lost, total = (sum(float(m.square().sum()) for m in matrices) for matrices in (layers, whole))
    assert error == pytest.approx((lost / total) ** 0.5, rel=1e-4)
    assert asset.record.rank == 3
    note, _ = [event.text for event in events if isinstance(event, Note)]
    assert note.startswith(f"rank 3 of 4 keeps {100 * (1 - error**2):.1f} %")
    # It is not the sum of its parents, so a mix of it names it.
    assert mixed("more", "small", "hop").record.parents[0] == parent(asset, 1.0)


def test_a_rank_that_cuts_nothing_saves_the_exact_mix(three: Sequence[Asset]) -> None:
    exact, asset = mixed("exact", "twirl", "zoom"), mixed("same", "twirl", "zoom", rank=64)
    assert (asset.record.content_id, asset.record.metrics) == (exact.record.content_id, {})


def test_ten_motions_at_once() -> None:
    assets = [put(f"m{n}", lora_of(n, 2)) for n in range(10)]
    asset = mixed("crowd", *(f"m{n}:{n - 4.5}" for n in range(10)))
    expected = sum((n - 4.5) * delta(each) for n, each in enumerate(assets))
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(delta(asset), expected, rtol=1e-6, atol=1e-5)
    assert (asset.record.rank, len(asset.record.parents)) == (20, 10)


def test_a_mix_is_copied_renamed_shared_and_verified_like_any_motion(three: Sequence[Asset], tmp_path: Path) -> None:
    registry, made = Workspace().registry, mixed("both", "twirl", "zoom:0.7").record
    registry.copy("both", "copy")
    registry.rename("copy", "moved")
    pack(registry, ["moved"], tmp_path / "moved.cav")
    (there,) = unpack(Workspace(tmp_path / "other").registry, tmp_path / "moved.cav")
    assert (there.record.content_id, there.record.parents, there.record.origin) == (
        made.content_id,
        made.parents,
        "imported",
    )
    assert verify_assets(registry).findings == []
    assert mixed("more", "moved", "hop").record.parents[:2] == made.parents


def test_motions_of_different_weights_of_the_base_are_mixed_with_a_note(three: Sequence[Asset]) -> None:
    put("later", lora_of(5, 2), revision="s" * 12)
    events: list[Event] = []
    asset = mixed("both", "twirl", "later", on_event=events.append)
    weights, disturb = events
    assert weights == Note("`twirl` and `later` were learned on different weights of the base model")
    assert isinstance(disturb, Note)
    assert disturb.text.startswith("mixed motions disturb each other")
    assert asset.record.revision == ""


def test_what_cannot_be_mixed_is_refused_and_leaves_nothing(three: Sequence[Asset]) -> None:
    put("large", lora_of(5, 2), base_model="zeroscope", fingerprint="0" * 16)
    put("early", lora_of(6, 2), recipe={"noise_from": 0.5})
    put("always", lora_of(7, 2), recipe={})
    put("twirl-look", lora_of(8, 2), kind="absorber")
    put("empty", {"x": torch.zeros(1)})
    put("broken", {"unet.down.to_q.lora_A.weight": torch.zeros(2, 10)})
    before = Workspace().registry.names()
    for motion, kind, message in (
        ("large", Incompatible, "`twirl` was learned on `cav-mini`, `large` on `zeroscope`"),
        ("early", Incompatible, "`twirl` was learned with `--noise-from 0.7`, `early` with 0.5"),
        ("always", Incompatible, "`always` with 0: one set of weights"),
        ("twirl-look", NotFound, "no motion named `twirl-look`"),
        ("twril", NotFound, "no motion named `twril`"),
        ("empty", IntegrityFailure, "cannot use `empty` as a motion: the file holds no LoRA weights"),
        ("broken", IntegrityFailure, "cannot use `broken` as a motion: the file holds a damaged LoRA"),
        ("zoom:100", InvalidInput, "the mix is so strong that every video with it would be black"),
    ):
        with pytest.raises(kind, match=message):
            mixed("new", "twirl", motion)
    with pytest.raises(Incompatible) as refused:
        mixed("new", "twirl:0.4", "early:-0.7")
    assert "-m twirl:0.4 -m early:-0.7" in str(refused.value.hint)
    with pytest.raises(Conflict, match="`zoom` already exists"):
        mixed("zoom", "twirl", "nothing")
    assert Workspace().registry.names() == before


def test_a_motion_can_be_replaced_by_a_mix_of_itself(three: Sequence[Asset]) -> None:
    asset = mixed("twirl", "twirl", "zoom:0.5", replace=True)
    assert asset.record.parents == (parent(three[0], 1.0), parent(three[1], 0.5))
    assert len(list(Workspace().registry.trash.iterdir())) == 1
