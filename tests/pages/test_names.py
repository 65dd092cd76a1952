"""Names for charts that no list holds, and that mean one thing on a page."""

from itertools import pairwise

import numpy as np
import pytest

from llava.pages.characters import CHARACTERS
from llava.pages.lexicon import MONTHS, Lexicon
from llava.pages.names import open_lexicon, title

SEEDS = range(150)


def lexicon(seed: int) -> Lexicon:
    return open_lexicon(np.random.default_rng(seed))


@pytest.fixture(scope="module")
def lexicons() -> list[Lexicon]:
    return [lexicon(seed) for seed in SEEDS]


def pools(words: Lexicon) -> list[tuple[str, ...]]:
    return [words.series, *words.shares, *words.categories]


def test_names_of_a_pool_differ_in_more_than_capitals_and_begin_with_one(lexicons):
    for words in lexicons:
        for pool in pools(words):
            assert len({name.lower() for name in pool}) == len(pool)
            assert all(name and name[0] == name[0].upper() for name in pool)
            assert {*"".join(pool)} <= {*CHARACTERS, " "}


def test_no_series_is_called_like_a_category(lexicons):
    """Or nobody could tell which of the two a question means."""
    for words in lexicons:
        series = {name.lower() for name in words.series}
        assert not [pool for pool in words.categories if series & {name.lower() for name in pool}]


def test_pools_are_as_large_as_charts_need(lexicons):
    for words in lexicons:
        assert len(words.series) == 6
        assert [len(pool) for pool in words.shares] == [8, 8, 8]
        assert sorted(len(pool) for pool in words.categories) == [4, 7, 12, 12, 14, 14, 14]


def test_calendars_are_in_their_order_and_other_names_in_that_of_the_alphabet(lexicons):
    for words in lexicons:
        months, years, quarters, week, *others = words.categories
        assert months == MONTHS
        assert all(int(later) - int(earlier) == 1 for earlier, later in pairwise(years))
        assert quarters == ("Q1", "Q2", "Q3", "Q4")
        assert (week[0], week[6]) == ("Mon", "Sun")
        for pool in (words.series, *words.shares, *others):
            assert list(pool) == sorted(pool, key=str.lower)


def test_names_are_short_enough_for_an_axis(lexicons):
    names = [name for words in lexicons for pool in words.categories[4:] for name in pool]
    assert np.quantile([len(name) for name in names], 0.9) <= 9


def test_no_list_holds_the_names(lexicons):
    """Of another 75 pages' series, most were never seen."""
    known = {name for words in lexicons[:75] for name in words.series}
    new = [name for words in lexicons[75:] for name in words.series]
    assert sum(name not in known for name in new) > 0.4 * len(new)
    assert len({words.categories[1] for words in lexicons}) > 40


def test_the_same_numbers_give_the_same_names():
    assert pools(lexicon(3)) == pools(lexicon(3)) != pools(lexicon(4))


def test_titles_are_one_to_three_words_and_now_and_then_a_year():
    titles = [title(np.random.default_rng(seed)) for seed in range(300)]
    years = [text for text in titles if text.split()[-1].isdigit()]
    assert 30 < len(years) < 90
    assert all(1990 <= int(text.split()[-1]) <= 2030 for text in years)
    assert {len(text.split()) for text in titles if text not in years} == {1, 2, 3}
    assert all(text[0] == text[0].upper() for text in titles)
    assert len({*titles}) > 280
