"""LoRA files of other tools: what is exported is loaded by these tools, what they write is imported."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from cavtool.core.adapters import lora
from cavtool.core.adapters.merge import merged
from cavtool.core.backbones import open_backbone
from cavtool.core.backbones.protocol import Backbone
from cavtool.core.noise import seeded_noise
from cavtool.errors import CavError, Conflict, Incompatible, IntegrityFailure, InvalidInput, NotFound
from cavtool.events import Event, Note
from cavtool.models import find_model
from cavtool.recipes import Layout
from cavtool.registry.record import Kind, Record
from cavtool.studio.transfer import export_loras, import_lora
from cavtool.workspace import Workspace
from tests.core.test_lora import random_state
from tests.core.test_sampling import GUIDANCE, NEGATIVE, PROMPT, STEPS, ours


@pytest.fixture(scope="module")
def toon(animatediff: Path) -> Backbone:
    return open_backbone(animatediff, device="cpu", dtype="fp32")


def put(folder: Path, name: str, state: lora.LoraState, tmp_path: Path, kind: Kind = "motion") -> lora.LoraState:
    """Put weights made for the model in the folder into the registry."""
    model = find_model(str(folder))
    rank = 3 if lora.targets(state) else 0
    draft = Record(
        name=name,
        kind=kind,
        origin="learned",
        base_model=model.name,
        fingerprint=model.fingerprint,
        revision=model.revision,
        prompt="it shakes",
        appearance="",
        rank=rank,
        recipe={"noise_from": 0.5},
    )
    lora.save(state, tmp_path / "weights", {"format": "pt"})
    Workspace().registry.put(draft, {"weights.safetensors": tmp_path / "weights"})
    return state


def theirs(folder: Path, noise: Tensor, file: Path) -> Tensor:
    """The latents that diffusers' pipeline makes with the file."""
    pipeline: Any = DiffusionPipeline.from_pretrained(folder)
    pipeline.load_lora_weights(str(file))
    pipeline.set_progress_bar_config(disable=True)
    size = {"num_frames": noise.shape[2], "height": noise.shape[3] * 8, "width": noise.shape[4] * 8}
    options = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "latents": noise, "output_type": "latent"}
    made: Tensor = pipeline(PROMPT, negative_prompt=NEGATIVE, **size, **options).frames
    return made


@pytest.mark.parametrize(
    ("kind", "layout"), [("motion", Layout.DIFFUSERS), ("absorber", Layout.DIFFUSERS), ("absorber", Layout.KOHYA)]
)
def test_an_exported_lora_of_animatediff_gives_our_video_in_diffusers(
    animatediff: Path, toon: Backbone, tmp_path: Path, kind: Kind, layout: Layout
) -> None:
    layers = toon.temporal_targets() if kind == "motion" else toon.spatial_targets()
    state, noise = random_state(toon, layers, 1), seeded_noise((1, 4, 3, 8, 8), 11, "cpu")
    put(animatediff, "spin", {key: value / 2 for key, value in state.items()}, tmp_path, kind)
    (file,) = export_loras(["spin"], layout, output=tmp_path / "out")
    assert file == tmp_path / "out" / "spin.safetensors"
    plain = ours(toon, noise)
    with merged(toon.denoiser, [({key: value / 2 for key, value in state.items()}, 1.0)]):
        made = ours(toon, noise)
    torch.testing.assert_close(made, theirs(animatediff, noise, file), atol=1e-4, rtol=0)
    assert (made - plain).abs().max() > 1e-2


def test_peft_loads_an_exported_motion_of_modelscope_into_its_unet(modelscope: Path, tmp_path: Path) -> None:
    backbone = open_backbone(modelscope, device="cpu", dtype="fp32")
    state = put(modelscope, "spin", random_state(backbone, backbone.temporal_targets(), 1), tmp_path)
    events: list[Event] = []
    (file,) = export_loras(["spin"], Layout.DIFFUSERS, output=tmp_path, on_event=events.append)
    assert [event.text for event in events if isinstance(event, Note)] == [
        "`cav` applies `spin` at the noisiest 50% of the timesteps only; other tools apply it at all of them",
        "diffusers cannot load LoRAs into a pipeline of this family: `peft` loads the file into its `unet`",
    ]
    with safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()["lora_adapter_metadata"])
    unet = inject_adapter_in_model(LoraConfig(**{key[5:]: value for key, value in header.items()}), backbone.denoiser)
    loaded = {key.removeprefix("unet."): value for key, value in load_file(file).items()}
    assert not set_peft_model_state_dict(unet, loaded).unexpected_keys
    for layer in (backbone.temporal_targets()[0], backbone.temporal_targets()[-1]):  # attention, a convolution
        expected = state[f"unet.{layer}.lora_B.weight"] @ state[f"unet.{layer}.lora_A.weight"]
        delta = unet.get_submodule(layer).get_delta_weight("default")
        torch.testing.assert_close(delta.flatten(1), expected)


MOTION_LORA = re.compile(
    r"(?:(?:down|up)_blocks\.\d|mid_block)\.motion_modules\.\d\.temporal_transformer\.transformer_blocks\.0\."
    r"attention_blocks\.[01]\.processor\.to_(?:q|k|v|out)_lora\.(?:down|up)\.weight"
)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_motion_lora_of_animatediff_is_exported_and_imported(
    animatediff: Path, toon: Backbone, tmp_path: Path, suffix: str
) -> None:
    state = put(animatediff, "spin", random_state(toon, toon.temporal_targets(), 1), tmp_path)
    (file,) = export_loras(["spin"], Layout.COMFY, output=tmp_path / "Zoom.safetensors")
    tensors = load_file(file)
    assert all(map(MOTION_LORA.fullmatch, tensors))
    if suffix == ".ckpt":  # as they are published, with an entry more
        file = tmp_path / "Zoom.ckpt"
        torch.save({"state_dict": tensors | {"extra": torch.zeros(1)}}, file)
    events: list[Event] = []
    asset = import_lora(file, find_model(str(animatediff)), on_event=events.append)
    assert (asset.record.name, asset.record.origin, asset.record.kind) == ("zoom", "imported", "motion")
    assert (asset.record.rank, asset.record.recipe) == (3, {"noise_from": 0.0})
    imported = load_file(asset.weights)
    assert imported.keys() == state.keys()
    assert all(torch.equal(imported[key], state[key]) for key in state)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes == (
        ["not used: 1 entry of `Zoom.ckpt` without a matching layer: `extra`"] if suffix == ".ckpt" else []
    )


def test_the_layouts_of_animatediff_motiondirector_are_imported(animatediff: Path, tmp_path: Path) -> None:
    before = "up_blocks.1.motion_modules.0.temporal_transformer.transformer_blocks.0"
    pairs = {
        f"{before}.attention_blocks.1.to_out.processor.0_lora": (32 * 2, 32 * 2),
        f"{before}.ff.net.0.processor.proj_lora": (32 * 2 * 8, 32 * 2),
        f"{before}.ff.net.processor.2_lora": (32 * 2, 32 * 2 * 4),
    }
    tensors = {f"{key}.down.weight": torch.ones(2, width) for key, (_, width) in pairs.items()}
    tensors |= {f"{key}.up.weight": torch.ones(height, 2) for key, (height, _) in pairs.items()}
    save_file(tensors, tmp_path / "director.safetensors")
    asset = import_lora(tmp_path / "director.safetensors", find_model(str(animatediff)))
    ours = before.replace(".temporal_transformer", "")
    assert list(lora.targets(load_file(asset.weights))) == [
        f"{ours}.attn2.to_out.0",
        f"{ours}.ff.net.0.proj",
        f"{ours}.ff.net.2",
    ]


def test_ranks_that_differ_are_loaded_by_diffusers(animatediff: Path, toon: Backbone, tmp_path: Path) -> None:
    first, *others = toon.temporal_targets()
    state = random_state(toon, [first], 1, rank=5) | random_state(toon, others, 2, rank=2)
    put(animatediff, "spin", state, tmp_path)
    (file,) = export_loras(["spin"], Layout.DIFFUSERS, output=tmp_path)
    noise = seeded_noise((1, 4, 2, 8, 8), 11, "cpu")
    with merged(toon.denoiser, [(state, 1.0)]):
        torch.testing.assert_close(ours(toon, noise), theirs(animatediff, noise, file), atol=1e-4, rtol=0)


def test_a_learned_token_is_a_textual_inversion(animatediff: Path, toon: Backbone, tmp_path: Path) -> None:
    token = {"token": torch.randn(2, toon.token_like("a", 1).shape[-1])}
    put(animatediff, "look", random_state(toon, toon.spatial_targets(), 1) | token, tmp_path, "absorber")
    put(animatediff, "word", token, tmp_path, "absorber")
    files = export_loras(["look", "word"], Layout.DIFFUSERS, output=tmp_path)
    assert [file.name for file in files] == ["look.safetensors", "look_token.safetensors", "word.safetensors"]
    pipeline: Any = DiffusionPipeline.from_pretrained(animatediff)
    pipeline.load_textual_inversion(str(files[1]))
    ids = pipeline.tokenizer.convert_tokens_to_ids(["<look>", "<look>_1"])
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[ids], token["token"])
    (_, kohya, _) = export_loras(["look", "word"], Layout.KOHYA, output=tmp_path, overwrite=True)
    assert list(load_file(kohya)) == ["emb_params"]


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    animatediff: Path, toon: Backbone, tmp_path: Path
) -> None:
    for name in ("spin", "sway"):
        put(animatediff, name, random_state(toon, toon.temporal_targets(), 1), tmp_path)
    both = [toon.temporal_targets()[0], toon.spatial_targets()[0]]
    put(animatediff, "both", random_state(toon, both, 1), tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "sway.safetensors").touch()
    cases: list[tuple[list[str], Layout, Path, type[CavError], str]] = [
        (["spin"], Layout.KOHYA, folder, Incompatible, "no tool reads LoRAs on layers along time"),
        (["both"], Layout.COMFY, folder, Incompatible, "along time and within a frame at once"),
        (["spin", "sway"], Layout.COMFY, folder / "a.safetensors", InvalidInput, "need several files"),
        (["spin"], Layout.COMFY, folder / "a.pt", InvalidInput, r"cannot write `a\.pt`"),
        (["spin", "sway"], Layout.COMFY, folder, Conflict, r"sway\.safetensors` already exists"),
        (["spin", "swing"], Layout.COMFY, folder, NotFound, "swing"),
    ]
    for names, layout, output, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            export_loras(names, layout, output=output)
        assert caught.value.hint
    assert [file.name for file in folder.iterdir()] == ["sway.safetensors"]


def test_what_cannot_be_imported_is_refused(
    animatediff: Path, modelscope: Path, toon: Backbone, tmp_path: Path
) -> None:
    save_file(random_state(toon, toon.spatial_targets(), 1), tmp_path / "style.safetensors")
    save_file(random_state(toon, toon.temporal_targets(), 1), tmp_path / "spin.safetensors")
    save_file({"a": torch.zeros(1), "b": torch.ones(1)}, tmp_path / "none.safetensors")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "clip.mp4").touch()
    cases: list[tuple[str, Path, type[CavError], str]] = [
        ("style.safetensors", animatediff, Incompatible, "holds no motion: all its layers work within a frame"),
        ("spin.safetensors", modelscope, Incompatible, "fits no layer of `modelscope`: it is for `down_blocks"),
        ("none.safetensors", animatediff, IntegrityFailure, "holds no LoRA in a known layout"),
        ("text.pt", animatediff, IntegrityFailure, "is damaged, or holds more than weights"),
        ("clip.mp4", animatediff, IntegrityFailure, "is not a file of weights"),
        ("gone.ckpt", animatediff, NotFound, "no such file"),
    ]
    for name, folder, error, message in cases:
        with pytest.raises(error, match=message):
            import_lora(tmp_path / name, find_model(str(folder)))
    with pytest.raises(InvalidInput, match="cannot be a name"):
        import_lora(tmp_path / "spin.safetensors", find_model(str(animatediff)), name="a b")
    assert Workspace().registry.names() == []
