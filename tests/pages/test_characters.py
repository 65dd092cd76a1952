"""The classes of characters: each its own, typographic forms the plain one's, everything else none."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.pages.characters import CHARACTERS, NONE, PLAIN, character_class, character_classes

quick = settings(max_examples=200, deadline=None, derandomize=True)
# st.characters() would spend seconds on building its tables.
any_character = st.one_of(st.integers(0, 0xD7FF), st.integers(0xE000, 0x10FFFF), st.integers(0x20, 0x24F)).map(chr)


def test_every_character_has_a_class_of_its_own_and_stands_at_its_place():
    assert len(set(CHARACTERS)) == len(CHARACTERS)
    assert [character_class(character) for character in CHARACTERS] == list(range(len(CHARACTERS)))


def test_the_first_classes_are_those_of_ascii():
    """Heads that were trained before a letter was added at the end keep their meaning."""
    assert CHARACTERS.startswith(PLAIN)
    assert {character for character in map(chr, range(128)) if character.isprintable() and character != " "} == {*PLAIN}


def test_no_class_is_a_blank_or_could_be_drawn_in_two_ways():
    for character in CHARACTERS:
        assert character.isprintable()
        assert not character.isspace()
        # A letter that is put together from two characters would be two classes for one shape.
        assert unicodedata.normalize("NFC", character) == character


@pytest.mark.parametrize(
    ("form", "plain"),
    [
        ("\u2018", "'"),
        ("\u201d", '"'),
        ("\u2013", "-"),
        ("\u2014", "-"),
        ("\u2212", "-"),
        ("\u203a", ">"),
        ("●", "•"),
        ("\uff21", "A"),
        ("\u212b", "Å"),
    ],
)
def test_other_forms_of_a_character_are_read_as_the_plain_one(form, plain):
    assert character_class(form) == character_class(plain) == CHARACTERS.index(plain)


@pytest.mark.parametrize("character", [" ", "\u00a0", "\t", "ﬁ", "\u03b1", "Ж", "日", "\ufffd", "😀"])
def test_blanks_ligatures_and_other_scripts_have_no_class(character):
    assert character_class(character) == NONE


def test_a_raised_digit_is_not_read_as_the_digit():
    assert len({character_class(character) for character in "2²₂3³"} - {NONE}) == 4
    assert character_class("²") != character_class("2")


@quick
@given(st.lists(any_character, max_size=13).map("".join))
def test_the_classes_of_a_text_are_those_of_its_characters(text):
    classes = character_classes(text)
    assert classes.dtype == np.int64
    assert classes.shape == (len(text),)
    assert classes.tolist() == [character_class(character) for character in text]
    assert all(NONE <= code < len(CHARACTERS) for code in classes)


@quick
@given(any_character)
def test_what_has_a_class_looks_like_it(character):
    code = character_class(character)
    if code != NONE and character not in CHARACTERS and unicodedata.category(character)[0] in "LN":
        assert unicodedata.normalize("NFKC", character) == CHARACTERS[code]
