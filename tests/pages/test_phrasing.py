"""Questions in hundreds of wordings, and slips of the keyboard."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava.pages import STYLES, draw_page
from llava.pages.phrasing import QUESTIONS, SENTENCES, THINGS, mistype, put, templates
from llava.pages.wordings import SHIFTED_WORDINGS, WORDINGS


def gaps(template: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", template))


def test_every_kind_that_asks_for_a_thing_has_many_wordings():
    assert THINGS.keys() == WORDINGS.keys() - {"describe"}
    assert QUESTIONS.keys() <= WORDINGS.keys()
    assert all(len(templates(kind)) >= 80 for kind in THINGS)
    assert len(templates("cell")) > 200
    assert all(sentence.count("{thing}") == 1 for sentence in SENTENCES)


@pytest.mark.parametrize("kind", WORDINGS)
def test_wordings_have_the_gaps_of_their_kind_and_are_none_of_the_shifted_ones(kind):
    wanted = gaps(WORDINGS[kind][0])
    found = templates(kind)
    assert all(gaps(template) == wanted for template in found)
    shifted = {template.lower() for template in SHIFTED_WORDINGS[kind]}
    assert not shifted & {template.lower() for template in found}


def test_shared_sentences_begin_like_no_shifted_wording_that_could_share_them():
    first = {template.split()[0].lower() for kind in SHIFTED_WORDINGS.values() for template in kind}
    openers = {sentence.split()[0].lower() for sentence in SENTENCES}
    assert not openers & (first - {"which", "what", "how", "whose"})


@pytest.mark.parametrize("kind", ["cell", "describe"])
def test_drawn_wordings_are_templates_and_all_are_drawn(kind):
    rng = np.random.default_rng(3)
    drawn = Counter(put(rng, kind) for _ in range(9000))
    assert drawn.keys() == set(templates(kind))


@given(seed=st.integers(0, 2**32), words=st.lists(st.text("abcdefgh0-", min_size=1, max_size=9), min_size=1))
def test_a_slip_changes_one_word_by_one_letter_at_most_and_never_a_name(seed, words):
    names = tuple(words[::2])
    question = " ".join(words)
    changed = mistype(np.random.default_rng(seed), question, names).split(" ")
    differ = [(old, new) for old, new in zip(words, changed, strict=True) if old != new]
    assert len(differ) <= 1
    for old, new in differ:
        assert old not in names
        assert old.isalpha()
        assert abs(len(old) - len(new)) <= 1
        assert set(new) <= set(old)


def test_slips_happen():
    rng = np.random.default_rng(0)
    assert len({mistype(rng, "what is the invoice number", ("invoice number",)) for _ in range(60)}) > 3


def test_free_questions_still_say_what_they_ask_for_and_shifted_pages_have_none():
    plain = replace(STYLES["print_small"], slips=0.0)
    free = replace(plain, free_wordings=1.0)
    own = (*WORDINGS["field"], *QUESTIONS["field"])
    known = tuple(filter(None, (template.split("{")[0].lower() for template in own)))
    questions = [
        question
        for number in range(12)
        for question in draw_page("doc_page", "train", 5, number, free).questions
        if question.kind == "field"
    ]
    assert len({question.question.lower().split()[0] for question in questions}) > 6
    assert any(
        not any(question.question.lower().startswith(start) for start in known if start) for question in questions
    )
    assert free.for_split("shifted").free_wordings == 0
    assert free.for_split("train").free_wordings == 1
