"""How far a LoRA on some heads of Wan reaches the others: `python -m tests.benchmarks.heads`.

`norm_q` and `norm_k` divide by the root mean square of all heads together, so that a change of some heads also scales
the others. Measured at the width of Wan 2.1 1.3B (12 heads of 128) on random inputs, weights and LoRAs of rank 32.
"""

import torch
from torch import Tensor, nn

from tests.benchmarks.tables import write_table

WIDTH, HEADS, RANK, NUM_TOKENS = 1536, 12, 32, 512
NUM_CHANGED, SIZES = (3, 6, 9), (0.05, 0.1, 0.2, 0.5)


def relative_change(before: Tensor, after: Tensor) -> str:
    return f"{((after - before).norm() / before.norm()).item():.2%}"


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    norm = nn.RMSNorm(WIDTH, eps=1e-6)
    inputs = torch.randn(NUM_TOKENS, WIDTH, generator=generator)
    query = inputs @ torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5
    A, B = torch.randn(WIDTH, RANK, generator=generator), torch.randn(RANK, WIDTH, generator=generator)
    delta, rows = inputs @ A @ B, []
    with torch.no_grad():
        for num_changed in NUM_CHANGED:
            mask = torch.arange(WIDTH) < num_changed * WIDTH // HEADS
            for size in SIZES:
                scaled = mask * delta * size * query[:, mask].norm() / delta[:, mask].norm()
                ours, aligned = (norm(query + change) for change in (scaled, mask * size * query))
                others = [relative_change(norm(query)[:, ~mask], each[:, ~mask]) for each in (ours, aligned)]
                rows.append((f"{num_changed} of {HEADS}", f"{size:.0%}", *others))
    columns = ("heads with LoRA", "change of their q", "change of the other heads", "same, if the change is along q")
    write_table("heads", "Isolation of heads through Wan's norm", columns, rows)


if __name__ == "__main__":
    main()
