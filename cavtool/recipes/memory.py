"""Memory options: how to trade time for memory on an accelerator."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from cavtool.recipes.common import check


class Quantize(StrEnum):
    """The precision in which the linear layers of the denoiser are kept; `8bit` needs the extra `quantize`."""

    NONE = "none"
    EIGHT_BIT = "8bit"


@dataclass(frozen=True)
class MemoryOptions:
    """Options that save memory or time.

    Gradients and videos stay the same up to rounding, except with `quantize` and `vae_tiling`.

    None, and 0 for the accumulation, leave the choice to `cav`, which enables only what the memory requires, in this
    order: the batch is trained in parts (`gradient_accumulation_steps`); activations are computed again in the backward
    pass (`gradient_checkpointing`); the denoiser's weights stay in CPU memory, and each layer's are moved to
    the accelerator when it is used (`offload`). `vae_tiling` encodes and decodes frames in overlapping tiles, which
    changes pixels slightly. `compile` uses `torch.compile`. Raises InvalidInput for a negative number, and for options
    that exclude each other.
    """

    gradient_accumulation_steps: int = 0
    gradient_checkpointing: bool | None = None
    offload: bool | None = None
    quantize: Quantize = Quantize.NONE
    vae_tiling: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        check(self.gradient_accumulation_steps >= 0, "`--gradient-accumulation-steps` must be 0 or more")
        excluded = self.offload and self.quantize is not Quantize.NONE
        check(not excluded, "`--offload` and `--quantize` exclude each other", "`--offload` alone saves more")
        check(not (self.offload and self.compile), "`--offload` and `--compile` exclude each other")

    def candidates(self, batch_size: int, *, can_offload: bool) -> "Iterator[MemoryOptions]":
        """Every choice that these options leave to `cav`, decided: the fastest first, the smallest last."""
        memory = replace(
            self,
            gradient_accumulation_steps=self.gradient_accumulation_steps or 1,
            gradient_checkpointing=bool(self.gradient_checkpointing),
            offload=bool(self.offload),
        )
        yield memory
        if not self.gradient_accumulation_steps and batch_size > 1:
            yield (memory := replace(memory, gradient_accumulation_steps=batch_size))
        if self.gradient_checkpointing is None:
            yield (memory := replace(memory, gradient_checkpointing=True))
        if self.offload is None and can_offload and self.quantize is Quantize.NONE and not self.compile:
            yield replace(memory, offload=True)

    @property
    def options(self) -> tuple[str, ...]:
        """The command-line options that set these values."""
        steps = self.gradient_accumulation_steps
        options = {
            f"--gradient-accumulation-steps {steps}": steps > 1,
            "--gradient-checkpointing": self.gradient_checkpointing,
            "--offload": self.offload,
            f"--quantize {self.quantize}": self.quantize is not Quantize.NONE,
            "--vae-tiling": self.vae_tiling,
            "--compile": self.compile,
        }
        return tuple(option for option, is_pulled in options.items() if is_pulled)

    def __str__(self) -> str:
        return " ".join(self.options) or "none"


AUTO_MEMORY = MemoryOptions()
NO_SAVING = MemoryOptions(1, gradient_checkpointing=False, offload=False)
