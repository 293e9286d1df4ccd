"""Memory of a training step and of a generated video at full size, on no device: `python -m tests.benchmarks.memory`.

The models have their published configs, and tensors of torch's `meta` device, which have sizes and no data: what is
alive at once is counted by storage. `models/catalogue.py` and `models/plan.py` take their figures from here. Attention
counts as flash attention (query, key, value and output), all weights and activations as bf16. Libraries, fragmentation
and the CUDA context are not in it.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cavtool.core.adapters import lora
from cavtool.core.backbones.animatediff import AnimateDiffBackbone
from cavtool.core.backbones.memory import set_checkpointing
from cavtool.core.backbones.parts.unet import UNetBackbone
from cavtool.core.backbones.unet3d import UNet3DBackbone
from cavtool.recipes import LearnRecipe
from tests.benchmarks.tables import write_table


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes of tensors made inside it that were alive at once; the module's weights are not counted."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = self.peak = 0
        weights = [each.untyped_storage() for each in (*module.parameters(), *module.buffers())]
        self._known: dict[int, Any] = {each._cdata: each for each in weights}  # noqa: SLF001

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._count(each.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        if (key := storage._cdata) in self._known:  # noqa: SLF001 its address, as a meta tensor has no data
            return
        size = storage.nbytes()

        def gone(_: Any) -> None:
            self.alive -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, gone)
        self.alive += size
        self.peak = max(self.peak, self.alive)


class Flash(torch.autograd.Function):
    """Attention that keeps query, key, value and output, as flash attention does; computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        return tuple(torch.empty_like(each) for each in ctx.saved_tensors[:3])


def flash(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
    """The signature of `scaled_dot_product_attention`."""
    out: Tensor = Flash.apply(query, key, value)  # type: ignore[no-untyped-call]
    return out


@dataclass
class Model:
    """A published model: its denoiser, its native clip in frames and pixels."""

    name: str
    build: Callable[[], nn.Module]
    backbone: type[UNetBackbone]
    text_width: int
    num_frames: int
    width: int
    height: int
    text_per_frame: bool = False


def unet3d() -> nn.Module:
    """ModelScope 1.7b and ZeroScope."""
    module: nn.Module = UNet3DConditionModel(cross_attention_dim=1024, attention_head_dim=64, sample_size=32)
    return module


def animatediff() -> nn.Module:
    """Stable Diffusion 1.5 with the motion adapter v1-5-3."""
    unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64)
    module: nn.Module = UNetMotionModel.from_unet2d(unet, MotionAdapter(use_motion_mid_block=False))
    return module


MODELS = (
    Model("modelscope", unet3d, UNet3DBackbone, 1024, 16, 256, 256),
    Model("zeroscope", unet3d, UNet3DBackbone, 1024, 24, 576, 320),
    Model("animatediff", animatediff, AnimateDiffBackbone, 768, 16, 512, 512, text_per_frame=True),
)


def predict(model: Model, denoiser: nn.Module, num_videos: int) -> Tensor:
    """One forward pass."""
    shape = (num_videos, 4, model.num_frames, model.height // 8, model.width // 8)
    rows = num_videos * (model.num_frames if model.text_per_frame else 1)
    text = torch.empty(rows, 77, model.text_width, dtype=torch.bfloat16)
    noisy = torch.empty(shape, dtype=torch.bfloat16)
    made: Tensor = denoiser(noisy, torch.zeros(num_videos, dtype=torch.long), text, return_dict=False)[0]
    return made


def measure(model: Model) -> tuple[str, ...]:
    """The parameters in millions, and GB alive in training steps, a guided sampling step and decoding."""
    denoiser = model.build().to(torch.bfloat16).eval().requires_grad_(False)
    size = sum(param.numel() for param in denoiser.parameters())
    with Peak(denoiser) as sampling, torch.no_grad():
        predict(model, denoiser, 2)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
    ).to(torch.bfloat16)
    with Peak(vae) as decoding, torch.no_grad():
        vae.decode(torch.empty(model.num_frames, 4, model.height // 8, model.width // 8, dtype=torch.bfloat16))
    recipe, backbone = LearnRecipe(), model.backbone.__new__(model.backbone)
    backbone.denoiser = denoiser
    params = lora.inject(denoiser, "cav_motion", backbone.temporal_targets(), recipe.rank, seed=0)
    for param in params.values():
        param.data = param.data.bfloat16()  # under autocast, each is used as bf16
    training = trained(model, denoiser, recipe.batch_size)
    in_parts = trained(model, denoiser, 1)
    for layer in backbone.activation_layers():
        set_checkpointing(layer, on=True)
    checkpointed = trained(model, denoiser, 1)
    learned = sum(param.numel() for param in params.values())
    peaks = (training, in_parts, checkpointed, sampling.peak, decoding.peak)
    return (model.name, f"{size / 1e6:.0f}", f"{learned / 1e6:.1f}", *(f"{peak / 1e9:.2f}" for peak in peaks))


def trained(model: Model, denoiser: nn.Module, num_videos: int) -> int:
    """Bytes alive in a training step."""
    with Peak(denoiser) as peak:
        predict(model, denoiser, num_videos).float().square().mean().backward()  # type: ignore[no-untyped-call]
    return int(peak.peak)


def main() -> None:
    """Measure all."""
    with torch.device("meta"), mock.patch("torch.nn.functional.scaled_dot_product_attention", flash):
        rows = [measure(model) for model in MODELS]
    write_table(
        "memory",
        "Memory at full size, by counting tensors",
        (
            "model",
            "M parameters",
            "M of the T-LoRA",
            "GB, training step",
            "GB, one video at a time",
            "GB, and checkpointing",
            "GB, sampling step",
            "GB, decoding",
        ),
        rows,
    )


if __name__ == "__main__":
    main()
