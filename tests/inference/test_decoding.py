"""The ways to denoise by their names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llava.inference.decoding import DECODING, DECODINGS, find_decoding
from llava.inference.session import Session
from llava.inference.words import Template
from llava.model.language_model.diffusion.decoding import DecodingConfig

QUESTION = "What is the total?"


def test_a_way_is_found_by_its_name_and_settings_are_taken_as_they_are() -> None:
    assert find_decoding("fast") == DECODING == DECODINGS["fast"]
    assert find_decoding("exact", max_new_tokens=7) == replace(DECODINGS["exact"], max_new_tokens=7)
    own = replace(DECODING, threshold=0.5)
    assert find_decoding(own) == own
    assert find_decoding(own, block_length=8) == replace(own, block_length=8)


def test_exact_is_one_per_step_but_for_looking_ahead() -> None:
    assert replace(DECODINGS["exact"], lookahead=0) == DECODINGS["one-per-step"]
    assert DECODINGS["one-per-step"].steps_per_block == 32


@pytest.mark.parametrize(
    ("way", "error", "message"),
    [
        ("slow", ValueError, "decoding 'slow' does not exist; use one of fast, exact, one-per-step"),
        (7, TypeError, "decoding is a name or a DecodingConfig, but this is int: 7"),
    ],
)
def test_what_is_no_way_is_named(way: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_decoding(way)


def test_a_session_answers_in_every_way_and_says_what_it_took(session: Session, page: Path) -> None:
    encoded = session.encode(page)
    fast, exact, slow = (session.ask(encoded, QUESTION, decoding=way) for way in DECODINGS)
    assert session.ask(encoded, QUESTION).settled_in == fast.settled_in
    assert (exact.text, exact.settled_in, exact.steps) == (slow.text, slow.settled_in, slow.steps)
    assert exact.forwards <= slow.forwards == slow.steps
    for answer in (fast, exact, slow):
        told = session.count_tokens(answer.tokens)
        assert answer.tokens_per_forward == told / answer.forwards
        assert min(answer.settled_in[:told]) >= 1, "every token that is told was settled in some step"
        assert max(answer.settled_in) == answer.steps


def test_filling_counts_the_gaps_alone(session: Session, page: Path) -> None:
    filled = session.fill(session.encode(page), Template.parse("It is [3] and [2]."), decoding="one-per-step")
    assert (filled.steps, filled.forwards, filled.tokens_per_forward) == (5, 5, 1.0)
    assert sorted(place for place in filled.settled_in if place) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("eps", [0.0, 1.0, -1e-3])
def test_a_time_axis_ends_between_0_and_1(eps: float) -> None:
    DecodingConfig(max_new_tokens=8, timesteps=8, eps=0.5)
    with pytest.raises(ValueError, match="eps must lie between 0 and 1"):
        DecodingConfig(max_new_tokens=8, timesteps=8, eps=eps)
