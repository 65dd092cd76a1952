"""The tower's attention within words: how far it is from even over a patch's own word, and which layer is asked."""

import math

import pytest
import torch
from torch.testing import assert_close
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from llava.data.batch import make_batch
from llava.pages import NONE
from llava.train.losses.words import words_loss
from tests import losses_helpers
from tests.losses_helpers import draw_all, page_groups, training_model

HEADS, HEAD_DIM, PATCHES = 5, 3, 11
WORDS = torch.tensor([[4, 4, NONE, 2, 2, 2, NONE, 4, 7, NONE, NONE], [NONE] * PATCHES])


def layer() -> SiglipEncoderLayer:
    torch.manual_seed(3)
    config = SiglipVisionConfig(hidden_size=HEADS * HEAD_DIM, intermediate_size=7, num_attention_heads=HEADS)
    config._attn_implementation = "eager"
    return SiglipEncoderLayer(config).eval()


def test_the_loss_is_the_divergence_by_loops_of_the_first_half_of_the_heads():
    block = layer()
    hidden = torch.randn(2, PATCHES, HEADS * HEAD_DIM, requires_grad=True)
    weights = block.self_attn(block.layer_norm1(hidden))[1].detach()
    each = []
    for head in range(HEADS // 2):
        for patch, word in enumerate(WORDS[0].tolist()):
            own = [at for at, other in enumerate(WORDS[0].tolist()) if other == word != NONE]
            if own:
                even = 1 / len(own)
                each.append(sum(even * math.log(even / weights[0, head, patch, at].item()) for at in own))
    found = words_loss(block, hidden, WORDS)
    assert_close(found, torch.tensor([sum(each) / len(each), 0.0]))
    found.sum().backward()
    assert torch.isfinite(hidden.grad).all()
    assert hidden.grad[0].any()


def test_even_attention_over_one_word_that_fills_the_view_costs_nothing():
    block = layer()
    with torch.no_grad():
        block.self_attn.q_proj.weight.zero_()
        block.self_attn.q_proj.bias.zero_()
    hidden = torch.randn(1, PATCHES, HEADS * HEAD_DIM)
    assert_close(words_loss(block, hidden, torch.full((1, PATCHES), 3)), torch.zeros(1))
    # Over a word of 4 of 11 patches, even attention spends 7 parts of 11 elsewhere.
    four = torch.full((1, PATCHES), NONE)
    four[0, 2:6] = 0
    assert_close(words_loss(block, hidden, four), torch.tensor([math.log(11 / 4)]))


def test_it_asks_the_layer_before_the_last_and_what_feeds_it(monkeypatch):
    monkeypatch.setattr(losses_helpers, "SIZES", losses_helpers.SIZES.replace(vision_layers=3))
    module = training_model(words=1.0, pointing=0.0)
    tower = module.lavida.get_vision_tower()
    assert tower.num_layers_run == 2
    batch = make_batch(page_groups(module.lavida, 2))
    total, count = module(batch, draw_all(batch, measured=False))["words"]
    assert int(count) == 2
    total.backward()
    before, last = tower.last_layers
    assert before.self_attn.q_proj.weight.grad.any()
    assert all(weight.grad is None or not weight.grad.any() for weight in last.parameters())


def test_a_tower_of_one_layer_is_refused():
    with pytest.raises(ValueError, match="words needs a vision tower of two layers"):
        training_model(words=1.0)
