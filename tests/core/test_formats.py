"""Absorbers that other tools wrote: the real libraries write them where they can."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file
from torch import Tensor

from cavtool.core.adapters import lora
from cavtool.core.adapters.existing import applied, combine, fit_absorber, kind_of
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.core.formats import read_absorber
from cavtool.errors import Incompatible, IntegrityFailure, InvalidInput
from tests.core.test_lora import random_state
from tests.small_models import TEXT_WIDTH, save_dreambooth

RANK, ALPHA = 3, 6.0
Deltas = dict[str, Tensor]


def trained(backbone: UNetBackbone, layers: list[str]) -> tuple[Any, Deltas]:
    """A LoRA of the real peft on these layers with alpha 6 and random weights, and what it adds to each weight."""
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=layers, init_lora_weights=False)
    model = inject_adapter_in_model(config, backbone.denoiser)
    deltas = {name: model.get_submodule(name).get_delta_weight("default").detach().clone() for name in layers}
    return model, deltas


def write_peft(model: Any, folder: Path) -> Path:
    metadata = model.peft_config["default"].to_dict()
    metadata["target_modules"] = sorted(metadata["target_modules"])
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=get_peft_model_state_dict(model), unet_lora_adapter_metadata=metadata
    )
    return folder / "pytorch_lora_weights.safetensors"


def write_diffusers(model: Any, folder: Path) -> Path:
    """As the training scripts of diffusers do; the alpha is not stored, so that it must be in the weights."""
    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(model))
    state = {key: value * ALPHA / RANK if ".up." in key else value for key, value in state.items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=state)
    return folder / "pytorch_lora_weights.safetensors"


def write_old_diffusers(model: Any, folder: Path) -> Path:
    """Attention processors, as diffusers up to 0.20 wrote them."""
    state = {}
    for key, value in get_peft_model_state_dict(model).items():
        layer, _, matrix = key.partition(".lora_")
        owner, _, projection = layer.removesuffix(".0").rpartition(".")
        name = {"A.weight": "down", "B.weight": "up"}[matrix]
        scaled = value * ALPHA / RANK if name == "up" else value
        state[f"unet.{owner}.processor.{projection}_lora.{name}.weight"] = scaled.contiguous()
    torch.save(state, folder / "pytorch_lora_weights.bin")
    return folder / "pytorch_lora_weights.bin"


def write_kohya(model: Any, folder: Path) -> Path:
    state = {f"unet.{key}": value for key, value in get_peft_model_state_dict(model).items()}
    kohya = {key: value.contiguous() for key, value in convert_state_dict_to_kohya(state).items()}
    assert all(key.startswith("lora_unet_") for key in kohya)
    save_file(
        {key: torch.tensor(ALPHA) if "alpha" in key else value for key, value in kohya.items()},
        folder / "k.safetensors",
    )
    return folder / "k.safetensors"


def write_adapter(model: Any, folder: Path) -> Path:
    """As `PeftModel.save_pretrained` does, which has the alpha in a file of its own."""
    model.peft_config["default"].save_pretrained(folder)
    state = {f"base_model.model.{key}": value.contiguous() for key, value in get_peft_model_state_dict(model).items()}
    save_file(state, folder / "adapter_model.safetensors")
    return folder / "adapter_model.safetensors"


@pytest.mark.parametrize("write", [write_peft, write_diffusers, write_old_diffusers, write_kohya, write_adapter])
def test_a_lora_of_another_tool_changes_the_weights_as_in_that_tool(
    backbone: UNetBackbone, write: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    layers = backbone.spatial_targets()
    model, deltas = trained(backbone, layers)
    file = write(model, tmp_path)
    lora.remove_all(backbone.denoiser)
    before = {name: backbone.denoiser.get_submodule(name).weight.detach().clone() for name in layers}
    state, unused = fit_absorber(backbone, read_absorber(file), 0.5, name="x", model="small")
    assert (kind_of(state), unused) == ("s-lora", [])
    with applied(backbone, state):
        for name, delta in deltas.items():
            changed = backbone.denoiser.get_submodule(name).weight - before[name]
            torch.testing.assert_close(changed, 0.5 * delta, atol=1e-6, rtol=1e-4)
    assert all(torch.equal(backbone.denoiser.get_submodule(name).weight, before[name]) for name in layers)


def read(backbone: UNetBackbone, file: Path, weight: float = 1.0) -> tuple[lora.LoraState, list[str]]:
    return fit_absorber(backbone, read_absorber(file), weight, name=file.name, model="small")


def test_convolutions_are_changed_too_and_what_fits_nothing_is_listed(backbone: UNetBackbone, tmp_path: Path) -> None:
    names = ("down_blocks.0.resnets.0.conv1", "mid_block.attentions.0.proj_in")
    state: dict[str, Tensor] = {}
    expected = {}
    for name in names:
        weight = backbone.denoiser.get_submodule(name).weight
        key = f"lora_unet_{name.replace('.', '_')}"
        down, up = torch.randn(RANK, *weight.shape[1:]), torch.randn(len(weight), RANK, *[1] * (weight.dim() - 2))
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        expected[name] = weight + (up.flatten(1) @ down.flatten(1)).view_as(weight)
    other = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    state |= {f"{other}.lora_down.weight": torch.zeros(1, 2), "lora_unet_gone.lora_down.weight": torch.zeros(1, 2)}
    state |= {"lora_unet_gone.lora_up.weight": torch.zeros(2, 1)}
    save_file(state, tmp_path / "locon.safetensors")
    fitted, unused = read(backbone, tmp_path / "locon.safetensors")
    assert unused == ["gone", f"{other}.lora_down.weight"]
    with applied(backbone, fitted):
        for name, weight in expected.items():
            torch.testing.assert_close(backbone.denoiser.get_submodule(name).weight, weight, atol=1e-5, rtol=1e-5)


def test_a_lora_on_layers_along_time_is_no_absorber(backbone: UNetBackbone, tmp_path: Path) -> None:
    save_file(random_state(backbone, backbone.temporal_targets(), 0), tmp_path / "motion.safetensors")
    with pytest.raises(Incompatible, match=r"`motion\.safetensors` fits no layer of `small` that works within a frame"):
        read(backbone, tmp_path / "motion.safetensors")


def test_a_lora_for_another_base_model_is_refused_with_both_shapes(backbone: UNetBackbone, tmp_path: Path) -> None:
    layer = next(name for name in backbone.spatial_targets() if "attn2.to_k" in name)
    state = {
        f"unet.{layer}.lora_A.weight": torch.zeros(RANK, 768),
        f"unet.{layer}.lora_B.weight": torch.zeros(32, RANK),
    }
    save_file(state, tmp_path / "sd15.safetensors")
    with pytest.raises(
        Incompatible, match=rf"its `{layer}` has shape \(32, 768\), that of `small` \(32, {TEXT_WIDTH}\)"
    ):
        read(backbone, tmp_path / "sd15.safetensors")


VECTORS = torch.arange(2.0 * TEXT_WIDTH).view(2, TEXT_WIDTH)
TOKENS: dict[str, Any] = {
    "learned_embeds.safetensors": {"<cat>": VECTORS[0]},
    "learned_embeds.bin": {"<cat>": VECTORS},
    "a1111.pt": {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": torch.nn.Parameter(VECTORS)},
        "name": "cat",
        "step": 500,
        "sd_checkpoint": None,
    },
    "kohya.safetensors": {"emb_params": VECTORS.half()},
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_textual_inversion_is_read_from_every_layout(
    modelscope_backbone: UNetBackbone, name: str, tmp_path: Path
) -> None:
    save = save_file if name.endswith(".safetensors") else torch.save
    save(TOKENS[name], tmp_path / name)
    state, unused = read(modelscope_backbone, tmp_path / name)
    assert (kind_of(state), unused) == ("textinv", [])
    assert torch.equal(state["token"], VECTORS[: len(state["token"])])
    with applied(modelscope_backbone, state) as token:
        text = modelscope_backbone.encode_text(["a cat"], token)
    assert not torch.equal(text, modelscope_backbone.encode_text(["a cat"]))
    with pytest.raises(InvalidInput, match="is a learned token, which has no weight"):
        read(modelscope_backbone, tmp_path / name, 0.5)


def test_a_token_of_another_width_or_with_too_many_vectors_is_refused(
    modelscope_backbone: UNetBackbone, tmp_path: Path
) -> None:
    save_file({"<cat>": torch.zeros(768)}, tmp_path / "sd15.safetensors")
    with pytest.raises(Incompatible, match=f"has vectors of width 768; those of `small` have width {TEXT_WIDTH}"):
        read(modelscope_backbone, tmp_path / "sd15.safetensors")
    with pytest.raises(Incompatible, match="have 31 vectors, and a prompt has room for 30"):
        modelscope_backbone.encode_text(["a cat"], torch.zeros(31, TEXT_WIDTH))


def test_an_image_unet_stands_in_for_the_spatial_weights(backbone: UNetBackbone, folder: Path, tmp_path: Path) -> None:
    unet = save_dreambooth(folder.name, tmp_path / "pipeline" / "unet")
    state, unused = read(backbone, tmp_path / "pipeline")
    assert (kind_of(state), unused) == ("dreambooth", [])
    theirs = dict(unet.named_parameters())
    before = {name: param.detach().clone() for name, param in backbone.denoiser.named_parameters()}
    with applied(backbone, state):
        for name, param in backbone.denoiser.named_parameters():
            assert torch.equal(param, theirs.get(name, before[name])), name
    assert all(torch.equal(param, before[name]) for name, param in backbone.denoiser.named_parameters())
    with pytest.raises(InvalidInput, match="only one UNet"):
        combine([state, state])
    save_dreambooth(folder.name, tmp_path / "wide", width=40)
    with pytest.raises(Incompatible, match=r"has shape .*40.*, that of `small` .*32"):
        read(backbone, tmp_path / "wide")


def test_several_absorbers_add_up(backbone: UNetBackbone) -> None:
    first, second = (random_state(backbone, backbone.spatial_targets(), seed, rank=seed) for seed in (1, 2))
    both = combine([first | {"token": torch.zeros(1, TEXT_WIDTH)}, second | {"token": torch.ones(2, TEXT_WIDTH)}])
    layer: Any = backbone.denoiser.get_submodule(backbone.spatial_targets()[0])
    with applied(backbone, first), applied(backbone, second):
        expected = layer.weight.detach().clone()
    with applied(backbone, both) as token:
        torch.testing.assert_close(layer.weight, expected)
    assert token is not None
    assert token[:, 0].tolist() == [0, 1, 1]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("empty.safetensors", lambda path: path.touch(), "is not a readable safetensors file"),
        ("empty.pt", lambda path: path.touch(), "is damaged, or holds more than weights"),
        ("text.pt", lambda path: path.write_text("weights"), "is damaged, or holds more than weights"),
        ("evil.pt", lambda path: torch.save({"<cat>": Evil()}, path), "is damaged, or holds more than weights"),
        ("list.pt", lambda path: torch.save([torch.zeros(1)], path), "holds no named weights"),
        ("numbers.pt", lambda path: torch.save({"step": 3}, path), "holds no absorber in a known layout"),
        ("loha.safetensors", lambda path: save_file({"a": VECTORS, "b": VECTORS + 1}, path), "holds no absorber"),
        (
            "half.safetensors",
            lambda path: save_file({"lora_unet_a.lora_down.weight": VECTORS}, path),
            "no second matrix",
        ),
        ("folder", lambda path: path.mkdir(), "is not the folder of a UNet"),
        ("vector.safetensors", lambda path: save_file({"x": VECTORS[0]}, path), "holds no absorber in a known layout"),
        ("nan.safetensors", lambda path: save_file({"<cat>": VECTORS[0] * math.nan}, path), "holds NaN or infinity"),
        (
            "flat.safetensors",
            lambda path: save_file({"unet.a.lora_A.weight": VECTORS[0], "unet.a.lora_B.weight": VECTORS[1]}, path),
            "are empty or have too few dimensions",
        ),
        (
            "rank0.safetensors",
            lambda path: save_file({"unet.a.lora_A.weight": VECTORS[:0], "unet.a.lora_B.weight": VECTORS}, path),
            "are empty or have too few dimensions",
        ),
        (
            "endless.safetensors",
            lambda path: save_file(
                {
                    "lora_unet_a.lora_down.weight": VECTORS,
                    "lora_unet_a.lora_up.weight": VECTORS[:, :2].contiguous(),
                    "lora_unet_a.alpha": torch.tensor(math.inf),
                },
                path,
            ),
            "or their scale hold NaN or infinity",
        ),
    ],
)
def test_files_without_an_absorber_are_refused(
    name: str, write: Callable[[Path], Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    with pytest.raises(IntegrityFailure, match=message):
        read_absorber(tmp_path / name)
    assert not Path("ran").exists()
