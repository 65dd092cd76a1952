"""Common words: each once, and all of them print that can be named."""

import pytest

from llava.pages.characters import NONE, character_class
from llava.pages.plain_words import FIRST_NAMES, SURNAMES, TOWNS, WORDS, split_words

LISTS = {"words": WORDS, "first names": FIRST_NAMES, "surnames": SURNAMES, "towns": TOWNS}


@pytest.mark.parametrize("name", LISTS)
class TestLists:
    def test_each_stands_once(self, name):
        """One that stood twice would be drawn twice as often."""
        words = LISTS[name]
        assert sorted({word for word in words if words.count(word) > 1}) == []

    def test_all_characters_can_be_named_and_blanks_part_words(self, name):
        for word in LISTS[name]:
            assert word.isalpha()
            assert all(character_class(character) != NONE for character in word)

    def test_names_have_capitals_and_words_none(self, name):
        for word in LISTS[name]:
            assert word == (word.lower() if name == "words" else word.capitalize())


def test_a_text_is_split_at_blanks_and_ends_of_lines():
    assert split_words("to  be\n    or\tnot ") == ("to", "be", "or", "not")
    assert split_words("") == ()


def test_there_is_enough_to_choose_from():
    assert {
        name: len(words) > least for (name, words), least in zip(LISTS.items(), (1000, 150, 150, 100), strict=True)
    } == (dict.fromkeys(LISTS, True))
