"""What a tower gathers: along which attention, behind which channels, and that nothing else of it changes."""

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from transformers import SiglipVisionConfig

from llava.data.page_truth import KINDS as LABEL_KINDS
from llava.model.multimodal_encoder.gathering import LABEL_HEADS, WORD_HEAD, carry
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower, features_width
from llava.speed.floors import vision_flops
from shirg.config import ShirgXConfig
from shirg.shirg_selector import select
from shirg.tokens import GATHERED as KINDS

HIDDEN, HEADS, GATHERED, LAYERS = 20, 5, 7, 4


def tower(gathered: int = GATHERED, layers: int = LAYERS, **options: bool) -> SigLipVisionTower:
    torch.manual_seed(3)
    config = SiglipVisionConfig(
        hidden_size=HIDDEN, intermediate_size=11, num_attention_heads=HEADS, num_hidden_layers=layers,
        image_size=98, patch_size=14, gathered_dim=gathered,
    )  # fmt: skip
    return SigLipVisionTower(config, **options).eval()


def straightforward_carry(layer, hidden, head, values):
    """By loops."""
    attention, normed = layer.self_attn, layer.layer_norm1(hidden)
    query, key = attention.q_proj(normed), attention.k_proj(normed)
    own = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
    carried = torch.zeros_like(values)
    for view in range(len(hidden)):
        for patch in range(hidden.shape[1]):
            products = [float(query[view, patch, own] @ other) for other in key[view, :, own]]
            scores = [product / math.sqrt(attention.head_dim) for product in products]
            for weight, value in zip(torch.tensor(scores).softmax(0), values[view], strict=True):
                carried[view, patch] += weight * value
    return carried


@pytest.mark.parametrize("head", [0, 3])
def test_values_are_carried_along_one_head(head):
    layer = tower().selected_layer
    hidden, values = torch.randn(2, 11, HIDDEN), torch.randn(2, 11, 3)
    with torch.no_grad():
        assert_close(carry(layer, hidden, head, values), straightforward_carry(layer, hidden, head, values))


def test_words_come_before_labels_and_the_tower_s_own_output_stays_first():
    gathering, plain = tower(), tower(0)
    plain.load_state_dict({name: value for name, value in gathering.state_dict().items() if "gathering" not in name})
    pixels = torch.randn(2, 3, 98, 98)
    with torch.no_grad():
        found, own = gathering(pixels), plain(pixels)
        inputs = [gathering.transformer.embeddings(pixels, gathering.transformer.embeddings.positions(7))]
        for layer in gathering.transformer.encoder.layers[:3]:
            inputs.append(layer(inputs[-1], None))
        read = gathering.gathering.read(gathering.gathering.norm(own))
        before, last = gathering.last_layers
        words = carry(before, inputs[1], WORD_HEAD, read)
        labels = [carry(last, inputs[2], head, words) for head in LABEL_HEADS]
    assert found.shape == (2, 49, HIDDEN + len(KINDS) * GATHERED)
    assert gathering.hidden_size == features_width(gathering.config) == found.shape[-1]
    assert_close(found, torch.cat([own, words, *labels], -1))
    assert plain.hidden_size == plain.own_size == gathering.own_size == HIDDEN


def test_layers_behind_the_features_and_merging_see_the_tower_s_own_output():
    whole = tower(keep_all_layers=True)
    pixels = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        dual = whole.extract_shirg_x_tokens(pixels, attention_layer="last", with_values=True)
    assert dual.own_dim == HIDDEN
    config = ShirgXConfig(grid=8, budgets=(9, 17, 23), budget=23, merge_cosine=0.5, merge_epsilon=1.0)
    similarity = torch.rand(1, 64)
    _, chosen = select(dual, similarity, config, [23])
    with torch.no_grad():
        dual.detail[..., HIDDEN:].normal_()
    _, again = select(dual, similarity, config, [23])
    assert torch.equal(chosen.assignment, again.assignment)
    assert (chosen.assignment != torch.arange(64)).any()


def test_its_arithmetic_is_counted():
    whole = tower()
    pixels = torch.randn(1, 3, 98, 98)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        whole(pixels)
    assert vision_flops(whole.config, whole.num_layers_run, 49) == counter.get_total_flops()


def test_a_tower_of_one_layer_or_one_head_is_refused():
    with pytest.raises(ValueError, match=r"two layers that run and 2 heads, this one has 1 and 5"):
        tower(layers=2)
    config = SiglipVisionConfig(hidden_size=6, num_attention_heads=1, num_hidden_layers=4, gathered_dim=3)
    with pytest.raises(ValueError, match=r"this one has 3 and 1"):
        SigLipVisionTower(config)


def test_it_is_carried_along_the_heads_that_are_taught_to_look_there():
    """``labeling`` takes its heads in turns, kind by kind; ``words`` teaches the first half of them."""
    assert tuple(LABEL_KINDS[head % len(LABEL_KINDS)] for head in LABEL_HEADS) == KINDS[1:]
    assert WORD_HEAD == 0
