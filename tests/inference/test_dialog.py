"""Conversations: each is the prompt that LaViDa writes, and is answered as it is alone."""

import pytest
import torch

from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
from llava.conversation import conv_templates
from llava.inference.decoding import find_decoding
from llava.inference.dialog import Turn, answer_dialogs, check_dialog, prepare_dialog
from llava.inference.session import Session
from llava.mm_utils import process_images, tokenizer_image_token
from tests.server_helpers import picture

WORDS = "which of the two?"


def test_a_turn_about_one_page_is_what_ask_asks(session: Session) -> None:
    page = session.encode(picture(1))
    brief = find_decoding("fast", max_new_tokens=5)
    expected = session.ask(page, WORDS, decoding=brief)
    for parts in ((page, WORDS), (WORDS, page)):
        reply = answer_dialogs(session, [prepare_dialog(session, [Turn(parts=parts)])], decoding=brief)[0]
        assert (reply.text, reply.tokens, reply.doubt) == (expected.text, expected.tokens, expected.doubt)
        assert reply.confidence == pytest.approx(expected.confidence, abs=1e-5)
        assert reply.image_tokens == len(expected.prefix.tokens)


def test_pages_stand_where_they_were_put(session: Session) -> None:
    """The whole of it by hand: LaViDa's template, the model's own generate, the last turn as every page's question."""
    pictures = [picture(1), picture(2), picture(3)]
    pages = [session.encode(each) for each in pictures]
    turns = [
        Turn(parts=(pages[0], "what is this?")),
        Turn(role="assistant", parts=("a page",)),
        Turn(parts=("compare", pages[1], pages[2], WORDS)),
    ]
    brief = find_decoding("fast", max_new_tokens=5)
    dialog = prepare_dialog(session, turns, system="Be brief.")
    written = conv_templates["llada"].copy()
    written.system = "Be brief."
    written.append_message("user", f"{DEFAULT_IMAGE_TOKEN}\nwhat is this?")
    written.append_message("assistant", "a page")
    written.append_message("user", f"compare\n{DEFAULT_IMAGE_TOKEN}\n{DEFAULT_IMAGE_TOKEN}\n{WORDS}")
    written.append_message("assistant", None)
    ids = tokenizer_image_token(written.get_prompt(), session.tokenizer, return_tensors="pt")
    assert torch.equal(dialog.ids, ids)
    assert (dialog.ids == IMAGE_TOKEN_INDEX).sum() == 3

    views = process_images(pictures, session.image_processor, session.model.config)
    question = session.prompt(f"compare\n{WORDS}")[1]
    tokens = session.model.generate(
        ids[None],
        views,
        [each.size for each in pictures],
        questions=[question] * 3,
        max_new_tokens=5,
        prefix_lm=True,
        stop_at_end_of_turn=True,
        threshold=0.95,
    )
    assert answer_dialogs(session, [dialog], decoding=brief)[0].tokens == tuple(tokens[0].tolist())


def test_conversations_answered_together_are_answered_as_alone(session: Session) -> None:
    pages = [session.encode(picture(seed)) for seed in range(3)]
    brief = find_decoding("fast", max_new_tokens=5)
    dialogs = [
        prepare_dialog(session, [Turn(parts=(*(pages[place] for place in places), f"{WORDS} {number}"))])
        for number, places in enumerate(([0], [2, 1], [], [1, 1], [2]))
    ]
    together = answer_dialogs(session, dialogs, decoding=brief)
    for dialog, reply in zip(dialogs, together, strict=True):
        alone = answer_dialogs(session, [dialog], decoding=brief)[0]
        assert (reply.text, reply.told, reply.prompt_tokens) == (alone.text, alone.told, alone.prompt_tokens)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "last message must be the user's"),
        ([("user", "why?"), ("assistant", "so")], "last message must be the user's"),
        ([("user", "  ")], "holds no words"),
        ([("user", "<|eot_id|>")], "special token"),
        ([("user", "so"), ("assistant", "<|eot_id|>"), ("user", "why?")], "special token"),
        ([("user", f"{DEFAULT_IMAGE_TOKEN} why?")], "placeholder|stands for the image"),
        ([("user", "why \ud800?")], "not valid UTF-8"),
        ([("user", "why " * 5000)], "positions"),
    ],
)
def test_what_cannot_be_said_is_refused(session: Session, turns: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_dialog(session, turns, pages=0, answer_tokens=32)


def test_a_turn_says_what_is_wrong_with_it(session: Session) -> None:
    page = session.encode(picture(1))
    for values, message in (
        ({"role": "assistant", "parts": (page,)}, "put pages into the user's"),
        ({"role": "tool", "parts": ("x",)}, "does not exist"),
        ({"parts": (" ",)}, "is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            Turn(**values)
