"""Memory that learning or generating will need, estimated from the headers of a model's weights, before it is loaded.

Weights are counted exactly. Activations are those that `python -m tests.benchmarks.memory` counted at full size: they
grow with frames, pixels and the width of the network.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from cavtool.models.family import ADAPTER, FAMILIES
from cavtool.models.model import Model
from cavtool.system.safetensors import find_weights, tensor_shapes

Task = Literal["learn", "generate"]

_TEMPORAL = re.compile(r".*(?:temp_attentions|transformer_in|motion_modules)\..*\.to_(?:q|k|v|out\.0)\.weight")
_LORA_BYTES = 16  # a parameter, its gradient and the two moments of AdamW, each fp32
_FULL_WIDTH = 320  # channels of the first level of the UNets that were counted


@dataclass(frozen=True)
class Activations:
    """Bytes per frame and pixel in bf16: of a training step per video, of a guided sampling step, of decoding."""

    learn: int
    sample: int
    decode: int


_ACTIVATIONS = {"unet3d": Activations(6700, 660, 1540), "animatediff": Activations(5150, 530, 1530)}


@dataclass(frozen=True)
class Row:
    """A part of the memory, in bytes with weights and activations as bf16 and as fp32."""

    part: str
    bf16: int
    fp32: int


def plan(model: Model, task: Task, *, batch_size: int, rank: int) -> list[Row]:
    """The memory that a task needs, part by part, for the model's native clip. Raises IntegrityFailure.

    The activations of families that were not counted are left out.
    """
    rows = list(_weights(model))
    if task == "learn" and (lora := _lora_parameters(model.folder, rank)):
        rows.append(Row("T-LoRA and optimizer", lora * _LORA_BYTES, lora * _LORA_BYTES))
    if model.family in _ACTIVATIONS:
        rows.append(_activations(model, task, batch_size))
    return rows


def _weights(model: Model) -> Iterator[Row]:
    for part in (*FAMILIES[model.family].parts, ADAPTER, "transformer_2"):
        folder = model.folder / part
        if folder.is_dir() and (weights := find_weights(folder)):
            size = sum(map(prod, tensor_shapes(weights.files).values()))
            yield Row(part, 2 * size, 4 * size)


def _lora_parameters(folder: Path, rank: int) -> int:
    """The parameters of a LoRA on all attention along time: rank x (in + out) a layer."""
    parts = [part for part in (folder / "unet", folder / ADAPTER) if part.is_dir()]
    files = [file for part in parts if (weights := find_weights(part)) for file in weights.files]
    shapes = tensor_shapes(files)
    return sum(rank * sum(shape) for name, shape in shapes.items() if _TEMPORAL.fullmatch(name))


def _activations(model: Model, task: Task, batch_size: int) -> Row:
    clip, per_pixel = model.clip, _ACTIVATIONS[model.family]
    pixels = clip.num_frames * clip.width * clip.height
    width = json.loads((model.folder / "unet" / "config.json").read_text(encoding="utf-8"))["block_out_channels"][0]
    share = pixels * width / _FULL_WIDTH
    needed = batch_size * per_pixel.learn if task == "learn" else max(per_pixel.sample, per_pixel.decode)
    return Row("activations (estimate)", round(share * needed), round(2 * share * needed))
