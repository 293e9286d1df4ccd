import dataclasses
import json
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cavtool.errors import Conflict
from cavtool.mini import plans, pretrain, reader, world
from cavtool.mini.architecture import new_tokenizer
from cavtool.models import find_model

TINY = dataclasses.replace(
    plans.PLANS["cpu"],
    num_stills=24,
    num_clips=6,
    autoencoder_steps=4,
    decoder_steps=2,
    still_steps=3,
    word_steps=2,
    video_steps=3,
    frames_per_step=4,
    stills_per_step=4,
    clips_per_step=2,
)


@pytest.fixture(scope="module", autouse=True)
def _one_pool() -> Iterator[None]:
    """One process renders for all trainings: each process of a pool imports torch first."""
    with pytest.MonkeyPatch.context() as patch, get_context("spawn").Pool(1) as pool:
        patch.setattr(pretrain, "get_context", lambda _: SimpleNamespace(Pool=lambda _: nullcontext(pool)))
        yield


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


@pytest.mark.slow
def test_the_shipped_folder_loads_in_diffusers_unchanged_and_generates() -> None:
    from diffusers import TextToVideoSDPipeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated upstream, and works
        pipeline: Any = TextToVideoSDPipeline.from_pretrained(find_model("cav-mini").folder)
        pipeline.set_progress_bar_config(disable=True)
        frames = pipeline(
            "a red cat", num_frames=16, height=64, width=64, num_inference_steps=2, output_type="np"
        ).frames
    assert frames.shape == (1, 16, 64, 64, 3)
    assert frames.std() > 0.05


def test_the_shipped_folder_is_small_and_holds_no_pickles() -> None:
    folder = find_model("cav-mini").folder
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 30e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}
    assert (folder / "README.md").exists(), "the model card"


def test_every_word_of_the_world_is_one_token_and_held_out_words_are_not() -> None:
    tokenizer = new_tokenizer()
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in world.words())
    for word in ("twirl", "lantern", "moon", "white", "zigzag", "somersault"):
        assert len(tokenizer(word, add_special_tokens=False).input_ids) > 1


@pytest.mark.slow
def test_the_recipe_runs_and_out_of_time_before_it_learned_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert pretrain.pretrain(whole, TINY, device="cpu", minutes=10)
    events = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [event["stage"] for event in events] == ["autoencoder", "decoder", "stills", "words", "videos"]
    assert not pretrain.pretrain(cut, TINY, device="cpu", minutes=0)
    assert pretrain.pretrain(cut, TINY, device="cpu", minutes=10)
    first, second = weights(whole / "pipeline"), weights(cut / "pipeline")
    assert all(torch.equal(first[key], second[key]) for key in first)
    more = dataclasses.replace(TINY, num_clips=7)
    with pytest.raises(Conflict, match="another world or plan"):
        pretrain.pretrain(whole, more, device="cpu", minutes=10)


@pytest.mark.slow
def test_a_stage_of_no_steps_keeps_the_weights_it_starts_from(tmp_path: Path) -> None:
    shipped = find_model("cav-mini").folder
    none = dataclasses.replace(TINY, autoencoder_steps=0, decoder_steps=0, still_steps=0, word_steps=0, video_steps=1)
    assert pretrain.pretrain(tmp_path, none, device="cpu", minutes=10, start=shipped)
    before, after = weights(shipped), weights(tmp_path / "pipeline")
    assert all(torch.allclose(before[key], after[key], atol=2e-3) for key in before)
    assert any(not torch.equal(before[key], after[key]) for key in before)
    for same in ("vae/diffusion_pytorch_model.safetensors", "words.json"):
        assert (shipped / same).read_bytes() == (tmp_path / "pipeline" / same).read_bytes()


def test_the_subjects_places_count_more() -> None:
    weight = reader.subject_weight(torch.tensor([[0.25, 0.5, 0.2]]), 8)
    assert weight.shape == (1, 8, 8)
    assert weight[0, 3, [2, 6]].tolist() == [reader.SUBJECT_WEIGHT, 1.0]
