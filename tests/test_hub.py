"""The files that a download takes from repositories laid out like the real ones."""

import pytest

from cavtool.models.hub import choose_files, is_hub_id

# A plus marks the files that are needed.
STABLE_DIFFUSION = """
  README.md
  v1-5-pruned.ckpt
  v1-5-pruned.safetensors
+ model_index.json
  safety_checker/config.json
  safety_checker/model.fp16.safetensors
+ tokenizer/merges.txt
+ tokenizer/vocab.json
+ unet/config.json
  unet/diffusion_pytorch_model.bin
  unet/diffusion_pytorch_model.fp16.bin
+ unet/diffusion_pytorch_model.fp16.safetensors
  unet/diffusion_pytorch_model.non_ema.safetensors
  unet/diffusion_pytorch_model.safetensors
"""
WAN = """
  assets/logo.png
  examples/a/b.json
+ model_index.json
+ tokenizer/spiece.model
+ transformer/diffusion_pytorch_model-00001-of-00002.safetensors
+ transformer/diffusion_pytorch_model-00002-of-00002.safetensors
+ transformer/diffusion_pytorch_model.safetensors.index.json
"""
ZEROSCOPE = """
+ text_encoder/pytorch_model.bin
+ unet/diffusion_pytorch_model.bin
  zs2_XL/text2video_pytorch_model.pth
"""
SHARDED_VARIANT = """
+ config.json
+ diffusion_pytorch_model-00002-of-00002.fp16.safetensors
+ diffusion_pytorch_model.fp16-00001-of-00002.safetensors
  diffusion_pytorch_model.safetensors
+ diffusion_pytorch_model.safetensors.index.fp16.json
"""


@pytest.mark.parametrize("listing", [STABLE_DIFFUSION, WAN, ZEROSCOPE, SHARDED_VARIANT])
def test_only_the_files_that_a_pipeline_needs_are_chosen(listing: str) -> None:
    marks = {line[2:]: line[0] for line in listing.strip("\n").splitlines()}
    assert choose_files(marks) == [path for path, mark in marks.items() if mark == "+"]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("cerspense/zeroscope_v2_576w", True), ("cav-mini", False), ("./a/b", False), ("/a/b", False), ("a/b/c", False)],
)
def test_an_address_on_the_hub_is_an_owner_and_a_name(text: str, *, is_one: bool) -> None:
    assert is_hub_id(text) == is_one
