"""Weights of one byte: what rounding loses, what it leaves alone, and what it refuses."""

import copy

import pytest
import torch
from torch import nn

from lavida_shirg_integration import apply_shirg_x
from llava.model.builder import load_pretrained_model
from llava.model.int8 import Int8Linear, quantize_language_model
from llava.provenance import digest_weights
from llava.speed.floors import language_bytes
from llava.tuning.config import TrainableConfig
from llava.tuning.parameters import prepare_trainable
from shirg.config import ShirgXConfig
from tests.model.test_generate import prompt


@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_is_off_by_half_a_step_of_its_row_at_most(bias):
    linear = nn.Linear(7, 5, bias=bias)
    with torch.no_grad():
        linear.weight[3] = 0.0
        linear.weight[1] *= 100
    before = copy.deepcopy(linear.state_dict())
    rounded = Int8Linear(linear)
    features = torch.randn(2, 3, 7)
    steps = linear.weight.detach().abs().amax(1) / 127
    bound = steps / 2 * features.abs().sum(-1, keepdim=True) * 1.001 + 1e-6
    error = (rounded(features) - linear(features)).abs()
    assert (error <= bound).all()
    assert error.amax() > 0
    assert torch.equal(rounded.weight * rounded.scale[:, None], _by_loops(linear.weight.detach()))
    assert all(torch.equal(linear.state_dict()[name], before[name]) for name in before)


def _by_loops(weight):
    """The definition, number by number."""
    result = torch.zeros_like(weight)
    for row in range(len(weight)):
        step = max(abs(float(each)) for each in weight[row]) / 127
        for column in range(weight.shape[1]):
            if step:
                whole = round(float(weight[row, column] / torch.tensor(step)))
                result[row, column] = whole * torch.tensor(step)
    return result


def test_what_a_precision_holds_is_given_back_in_it():
    layer = Int8Linear(nn.Linear(7, 5))
    assert layer(torch.randn(2, 7)).dtype == torch.float32
    layer = layer.to(torch.bfloat16)
    assert layer.weight.dtype == torch.int8
    assert layer(torch.randn(2, 7).bfloat16()).dtype == torch.bfloat16


@pytest.fixture(params=["tiny_checkpoint", "tiny_dream_checkpoint"])
def rounded(request):
    model = load_pretrained_model(request.getfixturevalue(request.param), device_map="cpu")[1]
    plain = copy.deepcopy(model)
    quantize_language_model(model)
    return model, plain


def test_the_language_model_is_rounded_and_nothing_else(rounded):
    model, plain = rounded
    names = {name for name, each in model.named_parameters() if each.dtype == torch.int8}
    assert names == {
        name
        for name, each in plain.named_parameters()
        if each.ndim == 2 and any(part in name for part in (".blocks.", "model.layers."))
    }
    for name, each in plain.named_parameters():
        if name not in names:
            assert torch.equal(model.get_parameter(name), each)
    head = plain.get_model().head_weight
    assert language_bytes(model) == (language_bytes(plain) - head.numel() * 4) / 4 + head.numel() * 4


def test_it_answers_nearly_as_before_and_saves_nothing(rounded, tmp_path):
    model, plain = rounded
    ids = prompt(3, 11)[None]
    logits, expected = model(ids).logits, plain(ids).logits
    assert 0 < (logits - expected).norm() < 0.1 * expected.norm()
    settings = {"max_new_tokens": 8, "mask_id": 500}
    assert model.generate(ids, prefix_lm=True, **settings).shape == (1, 8)
    assert digest_weights(model) != digest_weights(plain)
    with pytest.raises(ValueError, match="rounded to int8, and a checkpoint holds them in full"):
        model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    plain.save_pretrained(tmp_path / "saved")


def test_adapters_are_merged_before(tiny_checkpoint):
    model = load_pretrained_model(tiny_checkpoint, device_map="cpu")[1]
    apply_shirg_x(model, ShirgXConfig(similarity="projected").for_grid(12))
    prepare_trainable(model, TrainableConfig(scope="shirg_x_expanded", rank=3, coord_rank=2))
    with pytest.raises(ValueError, match="merge the adapter"):
        quantize_language_model(model)
