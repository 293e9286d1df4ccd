"""The same clip with what moves in other colours, so that a motion cannot be a patch of one colour that moves.

A T-LoRA that learns from a single clip can lower its loss by painting: a white box that climbs stairs became, in new
videos, a white spot that climbs across a subject at rest. If the box often has another colour, what remains to be
learned is where it is. Ours; domain randomisation (Tobin et al. 2017, arXiv 1703.06907) does the like to textures.
Shapes: F frames, H W, C colour channels.
"""

import numpy as np
from numpy.typing import NDArray

from cavtool.core.backbones.protocol import FramesFHWC

_GAINS = (0.6, 1.3)
_KEPT = 0.5  # of a channel's contrast to the ground


def recoloured(frames_FHWC: FramesFHWC, num_versions: int, seed: int) -> list[FramesFHWC]:
    """Versions of a clip in which what moves has other colours, while the ground keeps its own.

    The ground is the median over the frames. What differs from it gets its channels permuted, each with a random gain
    and a random sign; a sign that would lose most of the contrast, such as brighter on white, is turned round. With
    random colours of the ground, the model would have to guess what nothing in its input tells.
    """
    rng = np.random.default_rng(seed)
    ground_HWC = np.median(frames_FHWC, axis=0).astype(np.float32)
    difference_FHWC = frames_FHWC - ground_HWC
    versions = []
    for _ in range(num_versions):
        order, gains, signs = rng.permutation(3), rng.uniform(*_GAINS, 3), rng.choice((-1, 1), 3)
        channels = [
            _with_contrast(ground_HWC[..., i], gains[i] * difference_FHWC[..., order[i]], signs[i]) for i in range(3)
        ]
        versions.append(np.stack(channels, axis=-1).round().astype(np.uint8))
    return versions


def _with_contrast(
    ground_HW: NDArray[np.float32], difference_FHW: NDArray[np.float32], sign: int
) -> NDArray[np.float32]:
    """The ground plus or minus the difference, in [0, 255]: with this sign unless it loses the contrast."""
    both: list[NDArray[np.float32]] = [np.clip(ground_HW + each * difference_FHW, 0, 255) for each in (sign, -sign)]
    keeps_it = np.abs(both[0] - ground_HW).sum() >= _KEPT * np.abs(difference_FHW).sum()
    return both[0] if keeps_it else both[1]
