"""Which memory options are chosen, when memory runs out, and what leaves the device."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cavtool.core import losses
from cavtool.core.adapters import absorber
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.errors import RequirementError
from cavtool.events import Event, Note, Step
from cavtool.models import find_model
from cavtool.models.plan import required
from cavtool.recipes import AbsorberKind, DType, EditRecipe, LearnRecipe, MemoryOptions
from cavtool.registry import Asset
from cavtool.studio import memory
from cavtool.studio.edit import edit_frames
from cavtool.studio.learn import learn, resume
from cavtool.studio.session import motion_of, open_session
from cavtool.workspace import Workspace

pytestmark = pytest.mark.usefixtures("quick_preview")
Denoising = Callable[..., Tensor]


@pytest.fixture
def recipe(two_frames: Path) -> LearnRecipe:
    return LearnRecipe(
        "a lantern circles",
        model=str(two_frames),
        rank=2,
        steps=3,
        absorber_kind=AbsorberKind.NONE,
        dtype=DType.FP32,
        lr=1e-4,
    )


@pytest.fixture
def short_of_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From its second step on, a training runs out of memory unless it takes one video at a time; the steps taken."""
    usual: Denoising = losses.denoising_loss
    steps: list[int] = []

    def limited(*args: Any, share: Any, **kwargs: Any) -> Tensor:
        steps.append(share.count)
        if len(steps) > 1 and share.count < 2:
            raise torch.OutOfMemoryError("out of memory")
        return usual(*args, share=share, **kwargs)

    monkeypatch.setattr(absorber, "denoising_loss", limited)
    return steps


def weights(asset: Asset) -> dict[str, Tensor]:
    return load_file(asset.weights)


@pytest.mark.parametrize("family", ["modelscope", "animatediff"])
def test_the_estimate_counts_the_layers_that_a_motion_trains(family: str, request: pytest.FixtureRequest) -> None:
    model = find_model(str(request.getfixturevalue(family)))
    one, two = (
        required(model, "learn", MemoryOptions(), batch_size=1, rank=rank, width=2, all_parts=True) for rank in (1, 2)
    )
    backbone = open_session(model).backbone
    layers: list[Any] = [backbone.denoiser.get_submodule(name) for name in backbone.temporal_targets()]
    shapes = [layer.weight.flatten(1).shape for layer in layers]
    in_training = 5 * 4  # a weight, its average, its gradient and two moments, each of four bytes
    assert two - one == in_training * sum(map(sum, shapes))


def test_out_of_memory_is_tried_again_with_one_more_option(
    circle: Path, recipe: LearnRecipe, short_of_memory: list[int], tmp_path: Path
) -> None:
    events: list[Event] = []
    asset = learn("circle", circle, recipe, on_event=events.append)
    notes = [event.text for event in events if isinstance(event, Note) and "memory" in event.text]
    assert notes == ["out of memory: trying again with `--gradient-accumulation-steps 2`"]
    assert short_of_memory == [1, 1, 2, 2, 2, 2, 2, 2], "two parts in each of three steps"
    short_of_memory.clear()
    asked = replace(recipe, memory=MemoryOptions(gradient_accumulation_steps=2))
    same = learn("circle", circle, asked, workspace=Workspace(tmp_path / "other"))
    assert asset.record.content_id == same.record.content_id
    assert "memory" not in asset.record.recipe, "they belong to the machine"


def test_without_an_option_left_the_run_can_be_resumed_with_what_the_hint_says(
    circle: Path, recipe: LearnRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual: Denoising = losses.denoising_loss

    def exhausted(*_: Any, **__: Any) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(absorber, "denoising_loss", exhausted)
    fixed = replace(recipe, memory=MemoryOptions(gradient_accumulation_steps=1, gradient_checkpointing=False))
    with pytest.raises(RequirementError) as caught:
        learn("circle", circle, fixed)
    (run,) = Workspace().runs.list()
    assert (caught.value.message, run.status) == ("out of memory", "failed")
    assert caught.value.hint == f"try `--gradient-checkpointing` with `cav runs resume {run.id}`"
    monkeypatch.setattr(absorber, "denoising_loss", usual)
    assert resume(run.id, memory=MemoryOptions(gradient_checkpointing=True)).record.name == "circle"


def test_in_parts_and_with_checkpointing_the_weights_are_the_same_up_to_rounding(
    circle: Path, recipe: LearnRecipe
) -> None:
    usual = weights(learn("circle", circle, recipe))
    saving = replace(recipe, memory=MemoryOptions(2, gradient_checkpointing=True, offload=True))
    events: list[Event] = []
    found = weights(learn("spin", circle, saving, on_event=events.append))
    assert len([event for event in events if isinstance(event, Step) and event.stage == "motion"]) == recipe.steps
    assert max((found[key] - value).abs().max() for key, value in usual.items()) <= 1e-5


def test_a_motion_is_applied_to_offloaded_weights_as_to_others(circle: Path, recipe: LearnRecipe) -> None:
    motion = motion_of(learn("circle", circle, replace(recipe, lr=0.01)))
    asked: Any = {"prompt": "a red cat", "seed": 1, "steps": 2}
    usual, offloaded = (
        open_session(recipe.model, memory=memory) for memory in (MemoryOptions(), MemoryOptions(offload=True))
    )
    expected, found = (session.generate(motions=[motion], **asked).astype(int) for session in (usual, offloaded))
    assert abs(found - expected).max() <= 1
    assert abs(found - usual.generate(**asked)).max() > 1


class Seen(Exception):  # noqa: N818 an end, not an error
    """The test has seen enough."""


def test_while_a_motion_trains_the_vae_and_the_text_encoder_are_gone(
    circle: Path, recipe: LearnRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbones: list[UNetBackbone] = []

    def gone(backbone: UNetBackbone, part: str) -> None:
        backbones.append(backbone)
        getattr(backbone, part).to("meta")  # a use before it is back would be an error

    def on_event(event: Event) -> None:
        if isinstance(event, Step):
            raise Seen

    monkeypatch.setattr(UNetBackbone, "release", gone)
    with pytest.raises(Seen):
        learn("circle", circle, replace(recipe, absorber_kind=AbsorberKind.S_LORA, absorber_steps=1), on_event=on_event)
    assert all(param.is_meta for param in backbones[-1].vae.parameters())
    backbones.clear()
    with pytest.raises(Seen):
        learn("circle", circle, recipe, on_event=on_event)
    for part in ("vae", "text_encoder"):
        assert all(param.is_meta for param in getattr(backbones[-1], part).parameters())
    assert not any(param.is_meta for param in backbones[-1].denoiser.parameters())


def test_while_videos_are_sampled_parts_that_do_not_fit_are_gone(
    two_frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = replace(open_session(str(two_frames)), keeps_parts=False)
    there, during = {"vae", "text_encoder"}, list[set[str]]()

    def watch(name: str, part: str) -> None:
        usual = getattr(UNetBackbone, name)

        def used(backbone: UNetBackbone, *args: Any, **kwargs: Any) -> Any:
            there.add(part)
            return usual(backbone, *args, **kwargs)

        monkeypatch.setattr(UNetBackbone, name, used)

    for name, part in (("encode_text", "text_encoder"), ("encode_clip", "vae"), ("decode", "vae")):
        watch(name, part)
    monkeypatch.setattr(UNetBackbone, "release", lambda _, part: there.discard(part))
    session.backbone.denoiser.register_forward_pre_hook(lambda *_: during.append({*there}))
    frames = session.generate("a red cat", 1, steps=1)
    assert there == set()
    edit_frames(session, frames, EditRecipe("a blue car", source_prompt="a red cat", steps=2, strength=1.0))
    assert there == set()
    assert during
    assert all(each == set() for each in during)


def test_no_more_memory_options_are_chosen_than_the_free_memory_needs(
    two_frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = find_model(str(two_frames))
    options: Any = {"batch_size": 2, "rank": 4}
    candidates = list(MemoryOptions().candidates(2, can_offload=True))
    needed = [required(model, "learn", candidate, width=2, all_parts=False, **options) for candidate in candidates]
    assert needed == sorted(needed, reverse=True)
    for candidate, bytes_needed in zip(candidates, needed, strict=True):
        monkeypatch.setattr(memory, "free_memory", lambda _, free=bytes_needed: free)
        chosen, _ = memory.choose(model, "learn", MemoryOptions(), device="cuda", dtype=torch.bfloat16, **options)
        assert chosen[0] == candidate
        assert chosen == tuple(candidates[candidates.index(candidate) :]), "the others are left to be tried"
    monkeypatch.setattr(memory, "free_memory", lambda _: 0)
    assert memory.choose(model, "learn", MemoryOptions(), device="cuda", dtype=torch.bfloat16, **options)[0] == (
        candidates[-1],
    )
