"""How alike two clips look to a base model, wherever in the frame things are and however they move.

Each frame is noised a little and denoised as a still; the output of a layer in the middle of the denoiser says what is
where (Tang et al. 2023, arXiv 2306.03881, whose timestep this is). Colours and layout alone (`appearance`) miss a
subject that has leaked into another place.
Shapes: F frames of a clip, H W C of pixels, N places in a few frames, D width of the layer.
"""

import torch
from torch import Tensor

from cavtool.core.backbones.protocol import Backbone, FramesFHWC
from cavtool.core.noise import seeded_noise

NOISE = 0.261  # share of the timesteps
_NUM_FRAMES = 4  # of a clip


@torch.inference_mode()
def features(backbone: Backbone, frames_FHWC: FramesFHWC) -> Tensor:
    """The model's features (N, D) of all places in a few frames of a clip, each of length 1."""
    latents = backbone.encode_stills(frames_FHWC[:: max(1, len(frames_FHWC) // _NUM_FRAMES)])
    noise = seeded_noise((1, *latents.shape[1:]), 0, backbone.device).expand_as(latents)
    timesteps = torch.full((len(latents),), backbone.first_timestep(NOISE), device=backbone.device)
    seen: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda *call: seen.append(call[-1])) for layer in backbone.feature_layers()]
    try:
        with backbone.without_time(), torch.compiler.set_stance("force_eager"):  # compiled code calls no hooks
            backbone.predict(backbone.add_noise(latents, noise, timesteps), timesteps, backbone.encode_text([""]))
    finally:
        for hook in hooks:
            hook.remove()
    (output,) = seen
    found = output.flatten(2).transpose(1, 2) if output.ndim == 4 else output  # of a UNet, of a transformer
    return torch.nn.functional.normalize(found.flatten(0, 1).float(), dim=1)


def likeness(features_ND: Tensor, others_MD: Tensor) -> float:
    """Of each place the cosine to the most similar place of the other clip, averaged, in both directions; at most 1."""
    cosines_NM = features_ND @ others_MD.T
    return float((cosines_NM.max(dim=0).values.mean() + cosines_NM.max(dim=1).values.mean()) / 2)
