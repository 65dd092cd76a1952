"""Conversations as ids: what carries labels, what the question is, and what is refused."""

import pytest
import torch

from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.conversation import conv_templates
from llava.data.sample import encode_conversation
from llava.mm_utils import tokenizer_image_token
from tests.losses_helpers import tokenizer

TURNS = [
    ("user", "<image>\nHow many?"),
    ("assistant", "Three."),
    ("user", "What color is <image>?"),
    ("assistant", "  dark red "),
]


@pytest.mark.parametrize("extra", [0, 2])
def test_the_last_answer_with_its_end_and_padding_carries_labels(extra):
    words = tokenizer()
    encoded = encode_conversation(TURNS, words, answer_block=7, extra_blocks=extra)
    labeled = encoded.labels != IGNORE_INDEX
    start = int(labeled.int().argmax())
    assert bool(labeled[start:].all())
    assert not bool(labeled[:start].any())
    assert torch.equal(encoded.labels[start:], encoded.input_ids[start:])
    answer = words("dark red<|eot_id|>").input_ids
    target = encoded.labels[start:].tolist()
    assert target[: len(answer)] == answer
    assert set(target[len(answer) :]) <= {words.eos_token_id}
    assert len(target) == -(-len(answer) // 7) * 7 + 7 * extra


def test_an_answer_that_fills_its_blocks_is_not_padded():
    whole = tokenizer()("dark red<|eot_id|>").input_ids
    encoded = encode_conversation(TURNS, tokenizer(), answer_block=len(whole))
    assert encoded.labels[encoded.labels != IGNORE_INDEX].tolist() == whole


def test_the_prompt_is_the_one_that_inference_asks_with():
    encoded = encode_conversation(TURNS, tokenizer())
    conversation = conv_templates["llada"].copy()
    for role, text in TURNS[:-1]:
        conversation.append_message(role, text)
    conversation.append_message("assistant", None)
    prompt = tokenizer_image_token(conversation.get_prompt(), tokenizer())
    assert encoded.input_ids[encoded.labels == IGNORE_INDEX].tolist() == prompt
    assert prompt.count(IMAGE_TOKEN_INDEX) == 2


def test_the_question_is_the_last_user_turn_and_knows_no_answer():
    encoded = encode_conversation(TURNS, tokenizer())
    other = encode_conversation([*TURNS[:-1], ("assistant", "blue")], tokenizer())
    assert encoded.question.text == "What color is ?"
    assert encoded.question == other.question
    assert not torch.equal(encoded.labels, other.labels)
    assert encode_conversation([("user", "<image>"), ("assistant", "A page.")], tokenizer()).question is None


@pytest.mark.parametrize("turns", [[], TURNS[:1], TURNS[1:], [TURNS[0], TURNS[0]]])
def test_turns_must_alternate_and_end_with_an_answer(turns):
    with pytest.raises(ValueError, match="must alternate user and assistant"):
        encode_conversation(turns, tokenizer())


@pytest.mark.parametrize("blocks", [{"answer_block": 0}, {"extra_blocks": -1}])
def test_numbers_of_blocks_must_make_sense(blocks):
    with pytest.raises(ValueError, match="answer_block must be positive"):
        encode_conversation(TURNS, tokenizer(), **blocks)
