"""The question is the last user turn, and nothing else of the prompt."""

import pytest

from llava.conversation import conv_templates
from llava.mm_utils import tokenizer_image_token
from llava.question import PromptIds, Question


def prompt_ids(tokenizer, *turns: tuple[str, str | None], system: str | None = None) -> list[int]:
    conversation = conv_templates["llada"].copy()
    if system is not None:
        conversation.system = system
    for role, message in turns:
        conversation.append_message(role, message)
    return tokenizer_image_token(conversation.get_prompt(), tokenizer)


def cut(loaded, *turns: tuple[str, str | None]) -> str | None:
    tokenizer, model, _, _ = loaded
    question = model.prompt_ids.cut_question(prompt_ids(tokenizer, *turns))
    return None if question is None else tokenizer.decode(question.ids)


def test_only_the_user_s_words_are_left(loaded):
    asked = ("user", "<image>\nWhere is the red star?")
    assert cut(loaded, asked, ("assistant", None)) == "Where is the red star?"


def test_the_last_user_turn_counts(loaded):
    turns = [("user", "<image>\nFirst?"), ("assistant", "One."), ("user", "Second?"), ("assistant", None)]
    assert cut(loaded, *turns) == "Second?"


def test_the_answer_is_never_part_of_it(loaded):
    asked = ("user", "<image>\nWhat is the total?")
    without = cut(loaded, asked, ("assistant", None))
    assert cut(loaded, asked, ("assistant", "12.50 EUR")) == without


def test_an_image_behind_the_words_is_left_out(loaded):
    assert cut(loaded, ("user", "Compare <image> with <image> please"), ("assistant", None)) == "Compare with please"


@pytest.mark.parametrize("turns", [[("assistant", None)], [("user", "<image>\n"), ("assistant", None)], []])
def test_no_user_turn_or_an_empty_one_gives_none(loaded, turns):
    assert cut(loaded, *turns) is None


def test_ids_without_any_template_give_none(loaded):
    assert loaded[1].prompt_ids.cut_question([3, 5, -200, 7]) is None


def test_without_a_tokenizer_the_question_must_be_given(loaded):
    with pytest.raises(ValueError, match="questions="):
        PromptIds.from_config(loaded[1].config).cut_question([1, 2, 3])


def test_a_question_in_words(loaded):
    tokenizer = loaded[0]
    question = Question.from_text("  How many? ", tokenizer)
    assert question.text == "How many?"
    assert tokenizer.decode(question.ids) == "How many?"
    with pytest.raises(ValueError, match="empty"):
        Question.from_text(" \n", tokenizer)
