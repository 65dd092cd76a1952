"""Checkpoints whose numbers, files, sizes or device are not what they should be."""

import shutil
from pathlib import Path

import pytest
import torch

from llava.model.builder import load_pretrained_model
from tests.model.test_builder import all_tensors, edit_config, same_weights, write_single


@pytest.fixture
def copied(tiny_checkpoint, tmp_path) -> Path:
    """A copy of the checkpoint and of the SigLIP repository beside it, to be changed."""
    shutil.copytree(tiny_checkpoint.parent, tmp_path / "copy")
    return tmp_path / "copy" / tiny_checkpoint.name


@pytest.mark.parametrize("name", ["model.transformer.blocks.0.k_proj.weight", "model.mm_projector.2.bias"])
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(copied, name, value):
    tensors = all_tensors(copied)
    tensors[name].view(-1)[-1] = value
    write_single(copied, tensors)
    with pytest.raises(ValueError, match=rf"{name} holds numbers that are no numbers"):
        load_pretrained_model(copied, device_map="cpu")


def test_numbers_that_a_dtype_cannot_hold_are_told(copied):
    tensors = all_tensors(copied)
    tensors["model.image_newline"][0] = 1e6
    write_single(copied, tensors)
    load_pretrained_model(copied, device_map="cpu")
    with pytest.raises(ValueError, match=r"image_newline .*another dtype"):
        load_pretrained_model(copied, device_map="cpu", torch_dtype="float16")


@pytest.mark.parametrize("name", ["model-00001-of-00009.safetensors", "model.safetensors"])
def test_shards_of_another_checkpoint_are_refused(copied, name):
    shard = next(copied.glob("model-*.safetensors"))
    shutil.copy(shard, copied / name)
    with pytest.raises(ValueError, match=r"delete"):
        load_pretrained_model(copied, device_map="cpu")
    write_single(copied, {**all_tensors(copied)})
    load_pretrained_model(copied, device_map="cpu")
    shutil.copy(copied / "model.safetensors", copied / "model-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match=r"model-00001-of-00002\.safetensors, which is no part"):
        load_pretrained_model(copied, device_map="cpu")


@pytest.mark.parametrize("rows", [514, 640])
def test_added_tokens_are_read_and_written(copied, tmp_path, rows):
    """The library's usual two lines, and back from disk."""
    tokenizer, model = load_pretrained_model(copied, device_map="cpu")[:2]
    before = model.model.head_weight.clone()
    tokenizer.add_tokens(["<row>", "<column>"])
    model.resize_token_embeddings(rows)
    assert model.model.embedding.weight.shape == model.model.head_weight.shape == (rows, 64)
    assert torch.equal(model.model.head_weight[: len(before)], before)
    model.save_pretrained(tmp_path / "wide")
    tokenizer.save_pretrained(tmp_path / "wide")
    again = load_pretrained_model(tmp_path / "wide", device_map="cpu")[1]
    assert same_weights(model, again)
    assert again.config.vocab_rows == rows
    ids = torch.tensor([[rows - 1, 5]])
    assert again(ids).logits.shape == (1, 2, rows)


def test_an_embedding_may_have_more_rows_than_there_are_words(copied):
    edit_config(copied, vocab_size=500, embedding_size=512)
    model = load_pretrained_model(copied, device_map="cpu")[1]
    assert model.config.vocab_rows == len(model.model.head_weight) == 512


@pytest.mark.parametrize("device", ["mps", "xpu", "xla:0", "meta", "cuda:77", "hpu", "vulkan", "tpu"])
def test_a_device_that_is_not_here_is_refused_in_one_line(tiny_checkpoint, device):
    with pytest.raises(ValueError, match=rf"device '{device}' .*use cpu"):
        load_pretrained_model(tiny_checkpoint, device_map=device)
