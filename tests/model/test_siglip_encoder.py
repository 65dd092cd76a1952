"""The vision tower against transformers' own SigLIP, and dual-scale extraction."""

import pytest
import torch
from torch.testing import assert_close
from transformers import SiglipVisionConfig, SiglipVisionModel

from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower

SIZES = {
    "hidden_size": 20,
    "intermediate_size": 28,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 70,
    "patch_size": 14,
}
CLOSE = {"atol": 1e-5, "rtol": 0.0}


@pytest.fixture(scope="module")
def pair() -> tuple[SiglipVisionModel, SigLipVisionTower]:
    """transformers' whole model and our tower with the same weights."""
    torch.manual_seed(3)
    reference = SiglipVisionModel(SiglipVisionConfig(**SIZES)).eval()
    tower = SigLipVisionTower(SiglipVisionConfig(**SIZES), keep_all_layers=True).eval()
    weights = {key.removeprefix("vision_model."): value for key, value in reference.state_dict().items()}
    tower.transformer.load_state_dict(weights)
    return reference, tower


@pytest.mark.parametrize("size", [70, 112])
@torch.no_grad()
def test_features_are_the_hidden_state_before_the_last_layer(pair, size):
    reference, tower = pair
    pixels = torch.randn(2, 3, size, size)
    expected = reference(pixels, output_hidden_states=True, interpolate_pos_encoding=True).hidden_states[-2]
    assert_close(tower(pixels), expected, **CLOSE)


@torch.no_grad()
def test_without_the_last_layer_the_features_are_the_same(pair):
    stock = SigLipVisionTower(SiglipVisionConfig(**SIZES)).eval()
    kept = pair[1].transformer.state_dict()
    stock.transformer.load_state_dict({key: kept[key] for key in stock.transformer.state_dict()})
    assert len(stock.transformer.encoder.layers) == 2
    pixels = torch.randn(1, 3, 70, 70)
    assert torch.equal(stock(pixels), pair[1](pixels))


@torch.no_grad()
def test_dual_scale_tokens_of_a_672_pixel_view():
    tower = SigLipVisionTower(SiglipVisionConfig(**{**SIZES, "image_size": 384})).eval()
    dual = tower.extract_shirg_x_tokens(torch.randn(2, 3, 672, 672))
    assert dual.detail.shape == (2, 2304, 20)
    assert dual.scaffold.shape == (2, 144, 20)
    assert dual.boxes.shape == (2, 2304, 4)
    assert dual.scaffold_boxes.shape == (2, 144, 4)
    blocks = dual.detail[0].reshape(12, 4, 12, 4, 20)
    assert_close(dual.scaffold[0].reshape(12, 12, 20)[5, 7], blocks[5, :, 7].mean((0, 1)), **CLOSE)


@pytest.mark.parametrize(("layer", "index"), [("last", -1), ("selected", -2)])
@torch.no_grad()
def test_attention_received_is_that_of_the_layer_asked_for(pair, layer, index):
    reference, tower = pair
    pixels = torch.randn(2, 3, 56, 56)
    reference.set_attn_implementation("eager")
    attentions = reference(pixels, output_attentions=True, interpolate_pos_encoding=True).attentions
    reference.set_attn_implementation("sdpa")
    dual = tower.extract_shirg_x_tokens(pixels, attention_layer=layer)
    assert_close(dual.attention_received, attentions[index].mean((1, 2)), **CLOSE)


@torch.no_grad()
def test_value_embeddings_are_the_head_s_output_when_it_looks_at_one_patch(pair):
    reference, tower = pair
    pixels = torch.randn(1, 3, 56, 56)
    last = reference(pixels, interpolate_pos_encoding=True).last_hidden_state
    dual = tower.extract_shirg_x_tokens(pixels, with_values=True)
    for patch in (0, 7, 15):
        alone = reference.head(last[:, patch : patch + 1])
        assert_close(dual.value_embeddings[:, patch], alone, **CLOSE)


@torch.no_grad()
def test_interpolated_positions_are_kept_until_the_table_changes(pair, monkeypatch):
    embeddings = pair[1].transformer.embeddings
    first = embeddings.positions(8)
    assert embeddings.positions(8) is first
    embeddings.position_embedding.weight.mul_(2)
    assert_close(embeddings.positions(8), 2 * first)
    embeddings.position_embedding.weight.div_(2)


def test_positions_pass_gradients_in_training(pair):
    embeddings = pair[1].transformer.embeddings
    embeddings.positions(8)
    embeddings.positions(8).sum().backward()
    assert embeddings.position_embedding.weight.grad.abs().sum() > 0
    embeddings.zero_grad()


@pytest.mark.parametrize("shape", [(1, 3, 70, 84), (1, 3, 57, 57), (1, 3, 70, 70), (3, 56, 56)])
def test_views_that_do_not_divide_are_refused(pair, shape):
    with pytest.raises(ValueError, match="multiple of 56"):
        pair[1].extract_shirg_x_tokens(torch.zeros(shape))


def test_scoring_needs_the_layers_it_reads():
    stock = SigLipVisionTower(SiglipVisionConfig(**SIZES))
    view = torch.zeros(1, 3, 56, 56)
    with pytest.raises(ValueError, match="keep_all_layers"):
        stock.extract_shirg_x_tokens(view, attention_layer="last")
    assert stock.extract_shirg_x_tokens(view, attention_layer="selected").attention_received is not None


@pytest.mark.parametrize("layer", [-1, 3, 0, -4])
def test_the_selected_layer_lies_before_the_last(layer):
    with pytest.raises(ValueError, match="mm_vision_select_layer"):
        SigLipVisionTower(SiglipVisionConfig(**SIZES), select_layer=layer)


@torch.no_grad()
def test_the_layers_are_one_graph_without_breaks(pair):
    """``fullgraph`` refuses what cannot be traced: pointers, hooks, decisions on values."""
    tower, pixels = pair[1], torch.randn(2, 3, 56, 56)
    positions = tower.transformer.embeddings.positions(4)
    given, detail = torch.compile(tower.run_layers, fullgraph=True, backend="eager")(pixels, positions)
    assert torch.equal(detail, tower(pixels))
    assert torch.equal(tower.selected_layer(given, None), detail)
