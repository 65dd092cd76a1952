"""Attention of the language model against a slow twin, and a loss that teaches where it looks."""

import math

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch.testing import assert_close

from llava.train.losses.looking import (
    log_attention,
    looking_loss,
    query_places,
    record_block_inputs,
    tokens_under,
)
from tests.losses_helpers import SIZES, fresh_model

ROWS, POSITIONS = 3, 11
ASKING = torch.zeros(ROWS, POSITIONS, dtype=torch.bool)
ASKING[0, [8, 10]] = True
ASKING[1, 9] = True
ASKING[2, [5, 7, 8]] = True
TARGETS = torch.zeros(ROWS, POSITIONS, POSITIONS, dtype=torch.bool)
TARGETS[0, 8, 2:5] = True
TARGETS[0, 10, [0, 7]] = True
TARGETS[0, 3, 1] = True  # does not ask
TARGETS[2, [5, 7], 3] = True


def recorded(mask, positions=None):
    torch.manual_seed(5)
    language = fresh_model().model
    embeds = torch.randn(ROWS, POSITIONS, SIZES.width)
    with record_block_inputs(language, (0, 2)) as inputs:
        language(embeds, mask, positions)
    return inputs


def attention_by_loops(given, mask, positions, row, query, head):
    """Softmax of rotated products, one pair of positions at a time."""
    block, width = given.block, SIZES.width // SIZES.heads
    normed = block.attn_norm(given.hidden[row])
    part = slice(head * width, (head + 1) * width)

    def rotated(states, place):
        angle = int(positions[row, place])
        out = states.clone()
        for index in range(width // 2):
            turn = angle * 500000.0 ** (-2 * index / width)
            a, b = states[index], states[index + width // 2]
            out[index] = a * math.cos(turn) - b * math.sin(turn)
            out[index + width // 2] = b * math.cos(turn) + a * math.sin(turn)
        return out

    asked = rotated(block.q_proj(normed[query])[part], query)
    scores = []
    for key in range(POSITIONS):
        seen = mask is None or bool((mask[row] if mask.ndim == 2 else mask[row, query])[key])
        product = asked @ rotated(block.k_proj(normed[key])[part], key) / math.sqrt(width)
        scores.append(product.detach() if seen else torch.tensor(-math.inf))
    return torch.stack(scores).softmax(0)


def padding_mask():
    return torch.arange(POSITIONS) < torch.tensor([11, 10, 9])[:, None]


def pair_mask():
    mask = torch.rand(ROWS, POSITIONS, POSITIONS, generator=torch.Generator().manual_seed(3)) < 0.7
    return mask | torch.eye(POSITIONS, dtype=torch.bool)


@pytest.mark.parametrize("make_mask", [lambda: None, padding_mask, pair_mask])
@pytest.mark.parametrize("shifted", [False, True])
def test_log_attention_is_the_softmax_of_rotated_products(make_mask, shifted):
    mask = make_mask()
    positions = torch.arange(POSITIONS).expand(ROWS, -1)
    if shifted:
        positions = positions + torch.tensor([0, 7, 3])[:, None]
    given = recorded(mask, positions if shifted else None)[2]
    assert given.block.attn_norm.eps == 1e-5
    places, real = query_places(ASKING)
    found = log_attention(given, places, SIZES.heads).exp()
    for row, query in ASKING.nonzero().tolist():
        (place,) = ((places[row] == query) & real[row]).nonzero().flatten().tolist()
        for head in range(SIZES.heads):
            expected = attention_by_loops(given, mask, positions, row, query, head)
            assert_close(found[row, head, place], expected, atol=1e-5, rtol=1e-4)


def test_query_places_are_the_asking_positions_from_the_left():
    places, real = query_places(ASKING)
    assert real.sum(1).tolist() == [2, 1, 3]
    assert [row[mask].tolist() for row, mask in zip(places, real, strict=True)] == [[8, 10], [9], [5, 7, 8]]


def test_the_loss_is_minus_the_log_of_the_mass_on_each_position_s_own_targets():
    mask = padding_mask()
    inputs = recorded(mask)
    value, count = looking_loss(list(inputs.values()), ASKING, TARGETS, heads=1)
    positions = torch.arange(POSITIONS).expand(ROWS, -1)
    expected = []
    for row, query in ASKING.nonzero().tolist():
        if not TARGETS[row, query].any():
            continue
        for given in inputs.values():
            attention = attention_by_loops(given, mask, positions, row, query, 0)
            expected.append(-attention[TARGETS[row, query]].sum().log() / 2)
    assert int(count) == 4
    assert len(expected) == 2 * 4
    assert_close(value, torch.stack(expected).sum(), rtol=1e-4, atol=1e-4)


def test_its_gradient_reaches_queries_and_keys_of_the_taught_heads_only():
    inputs = recorded(None)
    block = inputs[2].block
    value, _ = looking_loss([inputs[2]], ASKING, TARGETS, heads=1)
    value.backward()
    for projection in (block.q_proj, block.k_proj):
        taught, *free = projection.weight.grad.split(SIZES.width // SIZES.heads)
        assert taught.abs().sum() > 0
        assert torch.cat(free).abs().sum() == 0
        assert bool(projection.weight.grad.isfinite().all())
    assert block.v_proj.weight.grad is None
    assert inputs[0].block.q_proj.weight.grad.abs().sum() > 0, "through the layers below"


def test_following_the_gradient_moves_attention_to_the_targets():
    given = recorded(None)[2]
    given = type(given)(
        block=given.block, hidden=given.hidden.detach(), rotary=given.rotary, attention_mask=given.attention_mask
    )
    optimizer = torch.optim.Adam(given.block.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        value, count = looking_loss([given], ASKING, TARGETS, heads=2)
        losses.append(value.item() / int(count))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


def test_nothing_asked_costs_nothing():
    value, count = looking_loss([recorded(None)[0]], ASKING, torch.zeros_like(TARGETS), heads=2)
    assert (value.item(), int(count)) == (0.0, 0)
    assert value.dtype == torch.float32


def test_tokens_under_share_an_area_with_a_box_of_their_row():
    boxes = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.5, 0.5, 0.0, 0.0]])
    rows = [
        [(0.1, 0.1, 0.2, 0.2)],
        [(0.1, 0.1, 0.5, 0.5)],  # touching is no area
        [(0.4, 0.1, 0.6, 0.2), (0.0, 0.9, 0.1, 1.0)],
        [],
    ]
    assert tokens_under(boxes.expand(4, -1, -1), rows).int().tolist() == [
        [1, 0, 0, 0],
        [1, 0, 0, 0],
        [1, 1, 1, 0],
        [0, 0, 0, 0],
    ]
    assert not tokens_under(boxes[None], [[]]).any()


SPANS = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted)
RECTANGLES = st.tuples(SPANS, SPANS)


def squares(across, down):
    """The squares of an 8 x 8 page that a rectangle covers."""
    return {(x, y) for x in range(*across) for y in range(*down)}


@hypothesis.settings(deadline=None)
@hypothesis.given(
    st.lists(st.tuples(st.lists(RECTANGLES, min_size=3, max_size=3), st.lists(RECTANGLES, max_size=3)), min_size=1)
)
def test_tokens_under_a_box_cover_a_square_of_it(rows):
    tokens = [
        [((x0 + x1) / 16, (y0 + y1) / 16, (y1 - y0) / 8, (x1 - x0) / 8) for (x0, x1), (y0, y1) in row]
        for row, _ in rows
    ]
    boxes = [[(x0 / 8, y0 / 8, x1 / 8, y1 / 8) for (x0, x1), (y0, y1) in row] for _, row in rows]
    expected = [[any(squares(*token) & squares(*box) for box in row) for token in shown] for shown, row in rows]
    assert tokens_under(torch.tensor(tokens), boxes).tolist() == expected


def test_recording_leaves_no_hook_behind_and_refuses_a_layer_that_is_not_there():
    language = fresh_model().model
    embeds = torch.randn(2, 5, 32)
    with record_block_inputs(language, (0, 2)) as inputs:
        language(embeds)
    assert sorted(inputs) == [0, 2]
    assert_close(inputs[0].hidden, embeds)
    assert not any(block._forward_pre_hooks for block in language.blocks)
    with pytest.raises(RuntimeError), record_block_inputs(language, (0, 2)):
        language(embeds[..., 1:])
    assert not any(block._forward_pre_hooks for block in language.blocks)
    with pytest.raises(ValueError, match="from 0 to 2"), record_block_inputs(language, (3,)):
        pass
