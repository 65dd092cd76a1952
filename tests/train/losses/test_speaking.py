"""What each head passes on, against a slow twin; which head an answer's token asks; and the loss in a training step."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from llava.constants import IGNORE_INDEX
from llava.data.batch import make_batch
from llava.train.losses.pointing import log_attention, pointing_loss, query_places
from llava.train.losses.speaking import SPOKEN, WordPlaces, speaking_loss
from tests.losses_helpers import SIZES, draw_all, fresh_model, page_groups, tokenizer, training_model
from tests.train.losses.test_pointing import ASKING, POSITIONS, ROWS, TARGETS, recorded

TOKENS, WORDS = 7, 11


def planted_words() -> dict[str, torch.Tensor]:
    words = {role: torch.zeros(TOKENS, WORDS) for role in SPOKEN}
    words["figure"][0, 3] = 1
    words["figure"][4, [2, 5]] = 0.5
    words["second"][4, 8] = 1
    words["third"][6, 1] = 1
    return words


def test_the_loss_names_what_every_head_writes_by_loops():
    torch.manual_seed(5)
    block = fresh_model().model.blocks[1]
    hidden, vocabulary, words = torch.randn(TOKENS, SIZES.width), torch.randn(WORDS, SIZES.width), planted_words()
    size = SIZES.width // SIZES.heads
    expected = torch.zeros(())
    for head, role in enumerate(SPOKEN[: SIZES.heads]):
        for token in range(TOKENS):
            if words[role][token].any():
                value = block.v_proj.weight[head * size : (head + 1) * size] @ block.attn_norm(hidden[token])
                said = block.attn_out.weight[:, head * size : (head + 1) * size] @ value
                scores = 12.0 * torch.stack([F.cosine_similarity(said, word, dim=0) for word in vocabulary])
                expected = expected - (words[role][token] * scores.log_softmax(0)).sum()
    total, count = speaking_loss(block, hidden, words, vocabulary)
    assert_close(total, expected)
    assert int(count) == 3, "two heads, so nobody says third characters"
    assert total.dtype == torch.float32


def test_following_the_gradient_makes_heads_say_what_they_see():
    torch.manual_seed(7)
    block = fresh_model().model.blocks[0]
    hidden, vocabulary, words = torch.randn(TOKENS, SIZES.width), torch.randn(WORDS, SIZES.width), planted_words()
    optimizer = torch.optim.Adam([block.v_proj.weight, block.attn_out.weight], lr=0.01)
    losses = []
    for _ in range(60):
        total, _ = speaking_loss(block, hidden, words, vocabulary)
        losses.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("482", [0, 1, 2, -1]),
        ("48", [0, 1, 2]),
        ("7", [0, 1]),
        ("blue", [0, 1]),
        ("a red star", [0, 0, 0, 1]),
        ("row 12", [0, -1, 0, 1, 2]),
        ("row 4, b", [0, -1, 0, 1, 0, 1]),
    ],
)
def test_a_token_asks_the_head_of_its_place_in_its_word(answer, expected):
    ids = tokenizer()(answer, add_special_tokens=False).input_ids
    end = tokenizer().eos_token_id
    labels = torch.tensor([[IGNORE_INDEX, IGNORE_INDEX, *ids, end, end]])
    content = (labels != IGNORE_INDEX) & (labels != end)
    places = WordPlaces(tokenizer())(labels, content)
    assert places[0].tolist() == [-1, -1, *expected, *[-1] * (len(ids) + 2 - len(expected))]


def test_each_position_may_be_taught_one_head():
    given = recorded(None)[2]
    own = torch.zeros(ROWS, POSITIONS, dtype=torch.int64)
    own[2], own[0, 10] = 1, 1
    asking = ASKING & TARGETS.any(1, keepdim=True)
    places, real = query_places(asking)
    looks = log_attention(given, places, 2)
    expected = torch.zeros(())
    for row in range(ROWS):
        for query in range(places.shape[1]):
            if real[row, query]:
                head = own[row, places[row, query]]
                expected = expected - looks[row, head, query][TARGETS[row]].logsumexp(0)
    value, count = pointing_loss([given], ASKING, TARGETS, heads=2, own_head=own)
    assert_close(value, expected)
    assert count == asking.sum()
    both, _ = pointing_loss([given], ASKING, TARGETS, heads=2)
    assert not torch.isclose(value, both)


def test_a_training_step_teaches_the_value_path_of_the_pointing_layers():
    module = training_model(
        reading=0.0, alignment=0.0, grounding=0.0, pointing=0.0, coordinate=0.0, budget=0.0, speaking=1.0,
        pointing_layers=(1,),
    )  # fmt: skip
    batch = make_batch(page_groups(module.lavida, 3, first=4))
    parts = module(batch, draw_all(batch, budget=43, measured=False))
    assert set(parts) == {"denoising", "speaking"}
    total, count = parts["speaking"]
    assert int(count) > 0
    total.backward()
    blocks = module.lavida.model.blocks
    assert blocks[1].v_proj.weight.grad.abs().sum() > 0
    assert blocks[1].attn_out.weight.grad.abs().sum() > 0
    assert blocks[1].q_proj.weight.grad is None
    assert blocks[2].v_proj.weight.grad is None
    assert module.lavida.model.head_weight.grad.abs().sum() > 0
