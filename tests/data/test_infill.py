"""Answers with a marked gap: where it ends, what closes it, and that one key always draws the same."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava.constants import IGNORE_INDEX
from llava.data.infill import Gap, InfillConfig, draw_gap, open_gap
from llava.data.sample import encode_conversation
from tests.losses_helpers import tokenizer

PAD, INFILL, END = 2, 9, 3
SOME = InfillConfig(share=0.3, longest_padding=5)


def drawn(config: InfillConfig = SOME, infill_id: int | None = INFILL, count: int = 600) -> list[Gap | None]:
    return [draw_gap(config, infill_id, 7, f"record-{number}") for number in range(count)]


@given(st.lists(st.integers(10, 40), max_size=9), st.floats(0, 1, exclude_max=True), st.integers(0, 5))
def test_a_gap_holds_a_word_and_keeps_every_other(words, end, padding):
    answer = [*words, END]
    opened = open_gap(answer, Gap(end=end, padding=padding, infill_id=INFILL), pad_id=PAD)
    place = opened.index(INFILL)
    assert opened[place + 1 :][-1:] == [END]  # the end of turn is never in a gap
    assert opened[place - padding : place] == [PAD] * padding
    assert opened[: place - padding] + opened[place + 1 :] == answer
    assert place - padding >= min(1, len(words))


def test_ends_reach_every_word():
    places = {
        open_gap([11, 12, 13, 14, END], Gap(end=share / 100, padding=0, infill_id=INFILL), pad_id=PAD).index(INFILL)
        for share in range(100)
    }
    assert places == {1, 2, 3, 4}


def test_gaps_come_as_often_as_asked_and_with_every_padding():
    gaps = drawn()
    opened = [gap for gap in gaps if gap is not None]
    assert 0.24 < len(opened) / len(gaps) < 0.36
    assert {gap.padding for gap in opened} == set(range(6))
    assert min(gap.end for gap in opened) < 0.1 < 0.9 < max(gap.end for gap in opened)
    assert gaps == drawn()
    assert draw_gap(SOME, INFILL, 8, "record-0") != draw_gap(replace(SOME, share=1.0), INFILL, 7, "record-0")
    assert drawn(InfillConfig(), None) == [None] * 600
    assert None not in drawn(InfillConfig(share=1.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"share": 1.5}, "share must be a finite number from 0"), ({"longest_padding": -1}, "whole number of at least 0")],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        InfillConfig(**wrong)


def test_a_model_without_the_token_is_refused():
    with pytest.raises(ValueError, match="this model has no infilling token"):
        draw_gap(SOME, None, 1)


def test_the_gap_is_part_of_the_labeled_answer():
    words = tokenizer()
    turns = [("user", "Where?"), ("assistant", "row 2, column B")]
    plain = encode_conversation(turns, words, answer_block=8)
    gap = Gap(end=0.5, padding=3, infill_id=INFILL)
    opened = encode_conversation(turns, words, answer_block=8, gap=gap)
    answers = [row.labels[row.labels != IGNORE_INDEX].tolist() for row in (plain, opened)]
    assert INFILL in answers[1]
    end = words.eos_token_id
    assert [token for token in answers[1] if token not in (INFILL, end)] == [t for t in answers[0] if t != end]
    assert len(answers[1]) % 8 == 0
