"""CLIP, which compares pictures with texts; no part of a base model, but loaded as its parts are."""

from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import CLIPModel, CLIPTokenizer

from cavtool.core.backbones.parts import text
from cavtool.core.backbones.parts.loading import explain_load_errors, quiet
from cavtool.core.backbones.protocol import FramesFHWC

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's training pictures
_MAX_TOKENS = 77  # with those that mark the start and the end


@torch.inference_mode()
def clip_cosine(folder: Path, frames_FHWC: FramesFHWC, prompt: str) -> float:
    """The cosine of the features of each frame and of a prompt, averaged; `folder` has a model of transformers.

    Raises IntegrityFailure if the folder is damaged.
    """
    with explain_load_errors(folder), quiet():
        model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    frames_FCHW = torch.from_numpy(frames_FHWC).permute(0, 3, 1, 2) / 255
    side = model.config.vision_config.image_size
    frames_FCHW = F.interpolate(frames_FCHW, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (_MEAN, _STD))
    tokens = tokenizer([prompt], truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
    found = model(pixel_values=(frames_FCHW - mean) / std, **tokens)
    return float((found.image_embeds @ found.text_embeds.T).mean())  # both have length 1


def truncated(folder: Path, prompt: str) -> str:
    """The end of the prompt that CLIP does not read; empty if it reads all of it. Raises IntegrityFailure."""
    with explain_load_errors(folder), quiet():
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=_MAX_TOKENS)
    return text.truncated(tokenizer, prompt)
