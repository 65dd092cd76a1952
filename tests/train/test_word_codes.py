"""Words start as what they are spelled with."""

import torch

from llava.train.word_codes import spelled_embeddings

WIDTH = 211


def alike(*texts: str | None) -> torch.Tensor:
    codes = spelled_embeddings(texts, WIDTH, torch.Generator().manual_seed(7))
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(len(texts)))
    return codes @ codes.T


def test_words_that_share_letters_are_alike_and_others_are_not():
    near = alike(" Total", "total", " Totals", "Date", " Xylem")
    assert near[0, 1] > 0.5
    assert near[0, 2] > near[0, 3] + 0.4
    assert near[0, 4].abs() < 0.3


def test_pairs_tell_anagrams_apart():
    near = alike("tone", "note", "tones")
    assert near[0, 2] > near[0, 1] + 0.15


def test_a_word_holds_the_codes_of_its_characters():
    near = alike("Tax", "T", "t", "a", "z")
    assert near[0, 1:4].min() > 0.2
    assert near[0, 4] < 0.15
    assert near[1, 2].abs() < 0.25, "capitals and small letters alone are two characters"


def test_what_has_no_spelling_is_only_itself():
    near = alike(None, None, " ", "  ", "a")
    assert (near - torch.eye(5)).abs().max() < 0.3


def test_a_blank_in_front_marks_the_beginning_of_a_word():
    near = alike(" a", "a", " an", "an")
    assert 0.3 < near[0, 1] < 0.95
    assert near[2, 3] < 0.95
