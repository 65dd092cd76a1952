"""The tower's attention to labels: which patches print one, and how much attention falls on a patch's own."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from llava.data.batch import make_batch
from llava.data.page_truth import KINDS, Namer, page_truth
from llava.model.multimodal_encoder.siglip_encoder import record_input
from llava.pages import FAMILIES, NONE, STYLES, Page, draw_page, patch_labels
from llava.train.losses.labeling import labeling_loss
from tests.losses_helpers import draw_all, page_groups, tokenizer, training_model

HEADS, HEAD_DIM = 3, 5


def layer(heads: int = HEADS) -> SiglipEncoderLayer:
    torch.manual_seed(3)
    config = SiglipVisionConfig(hidden_size=heads * HEAD_DIM, intermediate_size=7, num_attention_heads=heads)
    config._attn_implementation = "eager"
    return SiglipEncoderLayer(config).eval()


def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """Two pages of eleven patches: rows 0 and 1 on the first, one without a printed label on the second."""
    belongs = torch.full((len(KINDS), 2, 11), NONE)
    printed = belongs.clone()
    belongs[0, 0, :5], belongs[0, 0, 5:9] = 0, 1
    printed[0, 0, [0, 2]], printed[0, 0, 10] = 0, 1
    belongs[1, 0, 4] = printed[1, 0, 3] = 2
    belongs[0, 1, 2:6] = 0
    belongs[1, 1, 1:], printed[1, 1, 7] = 4, 4
    return belongs, printed


@pytest.mark.parametrize(("heads", "kinds"), [(3, [0, 1]), (7, [0, 1, 0, 1])])
def test_the_loss_is_the_log_attention_by_loops(heads, kinds):
    """A third of the heads look for each kind."""
    block, (belongs, printed) = layer(heads), planted()
    hidden = torch.randn(2, 11, heads * HEAD_DIM, requires_grad=True)
    normed = block.layer_norm1(hidden)
    _, weights = block.self_attn(normed)
    expected = torch.zeros(2)
    for page in range(2):
        for head, kind in enumerate(kinds):
            total = count = 0.0
            for patch, label in enumerate(belongs[kind, page].tolist()):
                places = [at for at, shown in enumerate(printed[kind, page].tolist()) if shown == label != NONE]
                if places:
                    counts = 0.2 if patch in places else 1.0
                    total = total - counts * weights[page, head, patch, places].sum().log()
                    count += counts
            if count:
                expected[page] += total / count / len(kinds)
    found = labeling_loss(block, hidden, belongs, printed)
    assert_close(found, expected)
    found.sum().backward()
    assert torch.isfinite(hidden.grad).all()
    moved = {name for name, p in block.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert {name.split(".")[-2] for name in moved} == {"q_proj", "k_proj", "layer_norm1"}


def test_looking_at_the_labels_alone_costs_nothing():
    block, (belongs, printed) = layer(), planted()
    with torch.no_grad():
        block.self_attn.q_proj.weight.zero_()
        block.self_attn.q_proj.bias.fill_(1.0)
        block.self_attn.k_proj.weight.zero_()
    seen = labeling_loss(block, torch.randn(2, 11, HEADS * HEAD_DIM), belongs, printed)
    # Attention is even: 3 patches and the 2 of the label itself look at 2 of 11, 4 at 1 of 11, one at 1 of 11; on the
    # second page ten at 1 of 11.
    first = (3.4 * np.log(11 / 2) + 4 * np.log(11)) / 7.4
    assert_close(seen, torch.tensor([(first + np.log(11)) / 2, np.log(11) / 2], dtype=torch.float32))


def test_the_loss_is_measured_in_float32_under_autocast():
    block, (belongs, printed) = layer(), planted()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = labeling_loss(block, torch.randn(2, 11, HEADS * HEAD_DIM), belongs, printed)
    assert found.dtype == torch.float32


def printed_by_loops(page: Page, grid: int, kind: str, place: tuple[int, int]) -> str | None:
    """The label that a patch prints: what its mark says, where marks of its chart belong to that."""
    owner = patch_labels(page, (grid, grid), slots=1).owners[place]
    if owner == NONE:
        return None
    mark = page.marks[owner]
    words = mark.text.rstrip(":.,")
    labels = {getattr(other, kind) for other in page.marks if other.panel == mark.panel} - {None}
    return words if words in labels and getattr(mark, kind) in (None, words) else None


@pytest.mark.parametrize("family", FAMILIES)
def test_patches_are_pointed_at_the_labels_that_they_belong_to(family):
    style, grid = STYLES["typed"], 24
    pages = [draw_page(family, "train", 4, index, style) for index in range(3)]
    namer = Namer(tokenizer())
    stacked = torch.stack([page_truth(page, (grid, grid), 14, namer).labels for page in pages])
    assert stacked.shape == (3, 2, 2, grid**2)
    belongs, printed = (part.transpose(0, 1) for part in stacked.unbind(1))
    asked = 0
    for number, page in enumerate(pages):
        labels = patch_labels(page, (grid, grid), slots=1)
        for head, (kind, names) in enumerate((("row", labels.row_labels), ("column", labels.column_labels))):
            for patch in range(0, grid**2, 7):
                shown = printed[head, number, patch]
                expected = printed_by_loops(page, grid, kind, divmod(patch, grid))
                assert (None if shown == NONE else names[shown]) == expected
            owned = belongs[head, number]
            for label in set(owned.tolist()) - {NONE}:
                asked += 1
                assert (printed[head, number] == label).any(), names[label]
    assert asked > 6


def test_charts_beside_each_other_have_labels_of_their_own():
    page = draw_page("chart_page", "train", 4, 1, STYLES["typed_full"])
    labels = patch_labels(page, (48, 48), slots=1)
    owners = {}
    for patch in np.argwhere(labels.columns != NONE):
        mark = page.marks[labels.owners[tuple(patch)]]
        owners.setdefault(int(labels.columns[tuple(patch)]), set()).add(mark.panel)
    assert len(owners) > 4
    assert all(len(panels) == 1 for panels in owners.values())


def test_it_moves_the_last_layer_s_attention_and_what_lies_before_it_and_nothing_else():
    module = training_model(labeling=1.0)
    tower = module.lavida.get_vision_tower()
    batch = make_batch(page_groups(module.lavida, 2))
    value, count = module(batch, draw_all(batch, measured=False))["labeling"]
    assert int(count) == 2
    value.backward()
    moved = {name for name, p in module.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert all(".vision_tower." in name for name in moved)
    last = f"layers.{tower.num_layers_run - 1}."
    assert {name.split(".")[-2] for name in moved if last in name} == {"q_proj", "k_proj", "layer_norm1"}


def test_a_layer_s_input_is_recorded_inside_the_context_only():
    block = layer()
    hidden = torch.randn(1, 4, HEADS * HEAD_DIM)
    with record_input(block) as given:
        block(hidden, None)
    block(hidden, None)
    assert len(given) == 1
    assert_close(given[0], hidden)


def test_the_selected_layer_is_the_one_whose_output_the_tower_gives():
    tower = training_model().lavida.get_vision_tower()
    with record_input(tower.selected_layer) as given, torch.no_grad():
        out = tower(torch.randn(1, 3, 28, 28))
        assert_close(tower.selected_layer(given[0], None), out)
