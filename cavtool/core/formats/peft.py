"""LoRA files of diffusers and PEFT.

`unet.<layer>.lora_A.weight` (R, in) and `lora_B.weight` (out, R), as PEFT names them; `lora.down` and `lora.up`, as
diffusers' training scripts do; `<attention>.processor.to_q_lora.down.weight`, as older ones and AnimateDiff's own code
did; `lora_down` and `lora_up`, as some tools for Wan do. The scale alpha / rank is 1 unless an `.alpha` of the layer,
the metadata `lora_adapter_metadata`, or PEFT's `adapter_config.json` beside the file says otherwise.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from cavtool.core.formats.files import DAMAGED, pair, rank_of, scalar
from cavtool.errors import IntegrityFailure
from cavtool.system.files import read_text

_DOWN = re.compile(
    r"(?!lora_)(?P<layer>.+?)(?P<how>\.lora_A|\.lora\.down|_lora\.down|\.lora_down)(?P<default>\.default)?\.weight"
)  # names that begin with `lora_` are kohya's
_UP = {".lora_A": ".lora_B", ".lora.down": ".lora.up", "_lora.down": "_lora.up", ".lora_down": ".lora_up"}
_UNET = "unet"
_PREFIX = re.compile(r"(unet|base_model\.model)\.")
_PROCESSOR = re.compile(r"\.processor\.(\w+)$")

_LARGEST = 2**63  # of alpha, which is about the rank

ScaleOf = Callable[[str, int], float]  # of the name of a layer and its rank


def read(state: Mapping[str, Any], scale_of: ScaleOf) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Any]]:
    """The matrices A and B of each layer, and the entries that are not part of them. Raises IntegrityFailure."""
    loras, others = {}, dict(state)
    for key, down in state.items():
        match = _DOWN.fullmatch(key)
        if match is None or not isinstance(down, Tensor):
            continue
        before, default = match["layer"], match["default"] or ""
        up = others.pop(f"{before}{_UP[match['how']]}{default}.weight", None)
        if not isinstance(up, Tensor):
            raise IntegrityFailure(f"the LoRA has no second matrix for `{before}`", hint=DAMAGED)
        del others[key]
        layer = _PREFIX.sub("", before, count=1)
        rank = rank_of(before, down)
        stored = others.pop(f"{before}.alpha", None)
        scale = scale_of(layer, rank) if stored is None else scalar(stored, rank) / rank
        loras[_PROCESSOR.sub(_projection, layer)] = pair(layer, down, up, scale)
    return loras, others


def scales(path: Path, metadata: Mapping[str, str]) -> ScaleOf:
    """How the file's matrices are scaled: alpha / rank, or alpha / √rank where rank-stabilised."""
    configs: dict[str, dict[str, Any]] = {}  # by model: `unet`, or `transformer`
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):  # another tool's text
        if text := metadata.get("lora_adapter_metadata"):
            for key, value in json.loads(text).items():
                part, _, name = key.partition(".")
                configs.setdefault(part, {})[name] = value
        elif path.name.startswith("adapter_model."):
            configs[_UNET] = dict(json.loads(read_text(path.with_name("adapter_config.json"))))

    def scale_of(layer: str, rank: int) -> float:
        config = configs.get(layer.partition(".")[0]) or configs.get(_UNET, {})
        alphas = config.get("alpha_pattern")
        alphas = alphas if isinstance(alphas, dict) else {}
        named = (alpha for name, alpha in alphas.items() if layer == name or layer.endswith(f".{name}"))
        alpha = next(named, config.get("lora_alpha"))
        if not isinstance(alpha, int | float):
            return 1.0
        if abs(alpha) >= _LARGEST:  # Python cannot divide a larger whole number
            raise IntegrityFailure(f"the scale of `{layer}` is too large", hint=DAMAGED)
        return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)

    return scale_of


def _projection(match: re.Match[str]) -> str:
    return ".to_out.0" if match[1] == "to_out" else f".{match[1]}"
