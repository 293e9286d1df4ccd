"""Memory that learning or generating will need, estimated from the headers of a model's weights, before it is loaded.

Weights are counted exactly. Activations are those that `python -m tests.benchmarks.memory` counted at full size: they
grow with frames, pixels and the size of the network.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Literal

from cavtool.models.family import ADAPTER, FAMILIES
from cavtool.models.model import Model
from cavtool.recipes import NO_SAVING, MemoryOptions, Quantize
from cavtool.system.safetensors import find_weights, tensor_shapes

Task = Literal["learn", "generate"]

# UNets have attention along time, those of ModelScope convolutions as well; of Wan's attention over the whole clip, q
# and k are trained.
_TEMPORAL = re.compile(
    r".*(?:temp_attentions|transformer_in|motion_modules)\..*\.to_(?:q|k|v|out\.0)\.weight"
    r"|.*\.temp_convs\.\d+\.conv\d\.[23]\.weight"
    r"|blocks\.\d+\.attn1\.to_[qk]\.weight"
)
_LORA_BYTES = 20  # a parameter, its average, its gradient and the two moments of AdamW, each fp32
_FULL_WIDTH = 320  # channels of the first level of the UNets that were counted
_FULL_DEPTH = 1536 * 30  # width times layers of the Wan that was counted
_DECODED_AT_ONCE = 16 * 256 * 256  # pixels, by the image VAEs
_BF16 = 2  # bytes
_LINEAR = 2  # dimensions of the weights of a linear layer
_DENOISERS = ("unet", ADAPTER, "transformer", "transformer_2")  # the folders of its weights


@dataclass(frozen=True)
class Activations:
    """Bytes per frame and pixel in bf16.

    `learn` and `checkpointed` are for a training step and one video, without and with gradient checkpointing, `sample`
    for a guided sampling step, `decode` for decoding.
    """

    learn: int
    checkpointed: int
    sample: int
    decode: int


_ACTIVATIONS = {
    "unet3d": Activations(6700, 900, 660, 1540),
    "animatediff": Activations(5150, 780, 530, 1530),
    "wan": Activations(2800, 235, 53, 600),
}


@dataclass(frozen=True)
class Row:
    """A part of the memory, in bytes with weights and activations as bf16 and as fp32."""

    part: str
    bf16: int
    fp32: int


def plan(model: Model, task: Task, *, batch_size: int, rank: int) -> list[Row]:
    """The memory that a task needs for the model's native clip: of each part, and in total for each memory option.

    The activations of families that were not counted are left out. Raises IntegrityFailure.
    """
    rows = [Row(name, 2 * size, 4 * size) for name, size in _parameters(model).items()]
    if task == "learn" and (lora := _lora_parameters(model.folder, rank)):
        rows.append(Row("T-LoRA and optimizer", lora * _LORA_BYTES, lora * _LORA_BYTES))
    if model.family in _ACTIVATIONS:
        needed = [_activations(model, task, NO_SAVING, batch_size, width) for width in (2, 4)]
        rows.append(Row("activations (estimate)", *needed))
    return rows + _totals(model, task, batch_size, rank)


def _totals(model: Model, task: Task, batch_size: int, rank: int) -> list[Row]:
    asked = MemoryOptions(1, gradient_checkpointing=False) if task == "generate" else MemoryOptions()
    rows = []
    for memory in asked.candidates(batch_size, can_offload=True):
        part = f"total (estimate) with {memory.options[-1]}" if memory.options else "total (estimate)"
        needed = [
            required(model, task, memory, batch_size=batch_size, rank=rank, width=width, all_parts=False)
            for width in (2, 4)
        ]
        rows.append(Row(part, *needed))
    return rows


def required(
    model: Model, task: Task, memory: MemoryOptions, *, batch_size: int, rank: int, width: int, all_parts: bool
) -> int:
    """The bytes that a task needs with these memory options, for weights and activations of `width` bytes.

    With `all_parts`, the VAE and the text encoder stay on the accelerator; without, they are there only while used.
    """
    sizes, is_training = _parameters(model), task == "learn"
    vae, text = (sizes.get(part, 0) * width for part in ("vae", "text_encoder"))
    weights = _denoiser_bytes(model, memory, width)
    step = _activations(model, task, memory, batch_size, width)
    if is_training:
        step += _lora_parameters(model.folder, rank) * _LORA_BYTES
    if all_parts:
        return weights + vae + text + step
    encoding = text if is_training else 0  # a stage that trains a token encodes it in each step
    return weights + max(vae, text, encoding + step)


def _denoiser_bytes(model: Model, memory: MemoryOptions, width: int) -> int:
    """Bytes of the denoiser's weights: one each in 8-bit layers; if offloaded, twice those of the largest layer."""
    shapes = [shape for part in _DENOISERS for shape in _shapes(model.folder / part).values()]
    sizes = [prod(shape) * _width(shape, memory, width) for shape in shapes]
    return 2 * max(sizes) if memory.offload else sum(sizes)


def _width(shape: tuple[int, ...], memory: MemoryOptions, width: int) -> int:
    return 1 if memory.quantize is Quantize.EIGHT_BIT and len(shape) == _LINEAR else width


def _parameters(model: Model) -> dict[str, int]:
    """The number of parameters of each part of the model."""
    parts = dict.fromkeys((*FAMILIES[model.family].parts, *_DENOISERS))
    counted = {part: sum(map(prod, _shapes(model.folder / part).values())) for part in parts}
    return {part: size for part, size in counted.items() if size}


@cache
def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in the weights of a folder; {} if there are none."""
    weights = find_weights(folder) if folder.is_dir() else None
    shapes = tensor_shapes(weights.files) if weights else {}
    return {name: tuple(shape) for name, shape in shapes.items()}


def _lora_parameters(folder: Path, rank: int) -> int:
    """The parameters of a T-LoRA: rank x (in + out) a layer, of a convolution rank x (in x kernel + out)."""
    shapes = [item for part in _DENOISERS for item in _shapes(folder / part).items()]
    return sum(rank * (shape[0] + prod(shape[1:])) for name, shape in shapes if _TEMPORAL.fullmatch(name))


def _activations(model: Model, task: Task, memory: MemoryOptions, batch_size: int, width: int) -> int:
    """Bytes of the activations; 0 for families that were not counted."""
    if model.family not in _ACTIVATIONS:
        return 0
    clip, per_pixel = model.clip, _ACTIVATIONS[model.family]
    pixels = clip.num_frames * clip.width * clip.height * width / _BF16
    size = _relative_size(model)
    if task == "generate":
        decoded = pixels if model.family == "wan" else min(pixels, _DECODED_AT_ONCE * width / _BF16)
        return round(max(size * pixels * per_pixel.sample, min(1.0, size) * decoded * per_pixel.decode))
    at_once = -(-batch_size // max(1, memory.gradient_accumulation_steps))
    return round(
        size * pixels * at_once * (per_pixel.checkpointed if memory.gradient_checkpointing else per_pixel.learn)
    )


def _relative_size(model: Model) -> float:
    """The size of the denoiser's activations, relative to the model of its family that was counted."""
    part = "transformer" if model.family == "wan" else "unet"
    config = json.loads((model.folder / part / "config.json").read_text(encoding="utf-8"))
    if model.family == "wan":
        return float(config["num_attention_heads"] * config["attention_head_dim"] * config["num_layers"] / _FULL_DEPTH)
    return float(config["block_out_channels"][0] / _FULL_WIDTH)
